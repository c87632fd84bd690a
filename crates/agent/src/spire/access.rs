//! Which of the ways to the SPIRE server the agent takes.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Who keeps the SPIRE server in step with the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SpireAccess {
    /// In a cluster that has the kinds of spire-controller-manager as with `crd`, else as with `socket`
    #[default]
    Auto,
    /// The agent, over the API socket of the server
    Socket,
    /// spire-controller-manager, to which the agent gives objects; on a host there is none
    Crd,
    /// Somebody else: the agent leaves the server alone, and knows of its trust zone what the Workload API says
    None,
}

/// Whether the cluster has the kinds of spire-controller-manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Not known yet; it will be, and wakes.
    Unknown,
    Absent,
    /// The agent may not look.
    Refused(String),
    Present,
}

/// The way that is taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Socket,
    /// The objects; the server's socket carries bundles, where it is there.
    Objects,
    /// None: somebody else keeps the server.
    LeftAlone,
    /// It is not known yet which one.
    Undecided,
}

/// There is no way at all now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    #[error(
        "the cluster does not have the kinds of spire-controller-manager (spire.spiffe.io), by which this agent is to drive the SPIRE \
         server; install spire-controller-manager, or choose another way by AGENT_SPIRE (chart: spire.mode), which is crd"
    )]
    NoKinds,
    #[error(
        "the cluster does not have the kinds of spire-controller-manager (spire.spiffe.io), and there is no socket of the SPIRE server \
         either; install spire-controller-manager, or mount that socket (spire_server_socket; chart: spire.socket), or set AGENT_SPIRE (chart: \
         spire.mode) to none"
    )]
    Neither,
    #[error("{0}")]
    Refused(String),
}

/// Takes the way that `access` says. Where there are kinds of spire-controller-manager, it runs or will, and deletes from the
/// server what it has no object for: what another one writes there does not last.
pub fn choose(access: SpireAccess, kinds: &Availability, has_socket: bool) -> Result<Way, NoWay> {
    match (access, kinds) {
        (SpireAccess::None, _) => Ok(Way::LeftAlone),
        (SpireAccess::Socket, _) => Ok(Way::Socket),
        (_, Availability::Unknown) => Ok(Way::Undecided),
        (_, Availability::Present) => Ok(Way::Objects),
        (SpireAccess::Crd, Availability::Absent) => Err(NoWay::NoKinds),
        (SpireAccess::Crd, Availability::Refused(reason)) => Err(NoWay::Refused(reason.clone())),
        (SpireAccess::Auto, Availability::Absent | Availability::Refused(_)) if has_socket => Ok(Way::Socket),
        (SpireAccess::Auto, Availability::Absent) => Err(NoWay::Neither),
        (SpireAccess::Auto, Availability::Refused(reason)) => Err(NoWay::Refused(reason.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_follows_what_there_is() {
        let refused = || Availability::Refused("no right".to_owned());
        for (access, kinds, has_socket, expected) in [
            (SpireAccess::Auto, Availability::Present, true, Ok(Way::Objects)),
            (SpireAccess::Auto, Availability::Present, false, Ok(Way::Objects)),
            (SpireAccess::Auto, Availability::Absent, true, Ok(Way::Socket)),
            (SpireAccess::Auto, Availability::Absent, false, Err(NoWay::Neither)),
            (SpireAccess::Auto, refused(), true, Ok(Way::Socket)),
            (SpireAccess::Auto, refused(), false, Err(NoWay::Refused("no right".to_owned()))),
            (SpireAccess::Auto, Availability::Unknown, true, Ok(Way::Undecided)),
            (SpireAccess::Crd, Availability::Present, true, Ok(Way::Objects)),
            (SpireAccess::Crd, Availability::Absent, true, Err(NoWay::NoKinds)),
            (SpireAccess::Crd, refused(), true, Err(NoWay::Refused("no right".to_owned()))),
            (SpireAccess::Crd, Availability::Unknown, true, Ok(Way::Undecided)),
            (SpireAccess::Socket, Availability::Present, false, Ok(Way::Socket)),
            (SpireAccess::None, Availability::Present, true, Ok(Way::LeftAlone)),
            (SpireAccess::None, Availability::Absent, false, Ok(Way::LeftAlone)),
        ] {
            assert_eq!(choose(access, &kinds, has_socket), expected, "{access:?} {kinds:?} {has_socket}");
        }
    }
}
