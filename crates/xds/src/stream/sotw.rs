//! The state-of-the-world dialect: each request says all that is wanted. A response holds all that is wanted of the
//! types that are listed (clusters, listeners), so that what is missing is gone; of the types that are asked for by name
//! it holds what changed.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::connection::Dialectic;
use super::limits::Violation;
use super::session::{Dialect, Outgoing, Session};
use super::subscription::{Acknowledgement, Names, WILDCARD};
use crate::envoy::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use crate::{Node, Rejection};

pub(crate) struct StateOfTheWorld;

impl Dialectic for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const DIALECT: Dialect = Dialect::StateOfTheWorld;

    fn type_url(request: &mut Self::Request) -> &mut String {
        &mut request.type_url
    }

    fn take_node(request: &mut Self::Request) -> Option<Node> {
        request.node.take()
    }

    /// The older protocol can say only which version of everything it has.
    fn held(_request: &Self::Request) -> HashMap<String, String> {
        HashMap::new()
    }

    fn hear(session: &mut Session, request: Self::Request) -> Result<(bool, Option<Acknowledgement>), Violation> {
        let DiscoveryRequest { type_url, resource_names, response_nonce, .. } = request;
        let limits = *session.limits();
        limits.check_names(&resource_names)?;
        let list = session.hasher().hash_one(&resource_names);
        let (subscription, is_first) = session.subscription(&type_url)?;

        // Every acknowledgement repeats the list, which may be long; nearly always it is the one of the last time.
        let is_repeated = subscription.list == Some(list) && subscription.let_go.is_empty();
        let is_stale = !is_first && !response_nonce.is_empty() && subscription.last_nonce.as_deref() != Some(&*response_nonce);
        if is_stale {
            // A word spoken before the last response arrived is followed by another one that takes it into account. But
            // what is not wanted now has been forgotten, even if it is wanted again then.
            if !is_repeated {
                let names: Names = resource_names.into_iter().map(Arc::from).collect();
                subscription.let_go.extend(subscription.names.iter().filter(|name| !names.contains(name)).cloned());
            }
            return Ok((false, None));
        }
        let rejection = request.error_detail.map(Rejection::from_status);
        let acknowledgement = subscription.acknowledge(&response_nonce, rejection);
        if is_repeated {
            return Ok((is_first, acknowledgement));
        }

        subscription.list = Some(list);
        let mut names: Names = resource_names.into_iter().map(Arc::from).collect();
        subscription.explicit |= !names.is_empty();
        let wants_everything = names.remove(WILDCARD) || !(subscription.explicit || subscription.rules.by_name);
        if wants_everything {
            subscription.want_everything();
        }
        subscription.wildcard = wants_everything;
        let forgotten = std::mem::take(&mut subscription.let_go);
        let is_new = |name: &&Arc<str>| forgotten.contains(*name) || !subscription.names.contains(name);
        subscription.asked.extend(names.iter().filter(is_new).cloned());
        subscription.names = names;
        subscription.drop_unwanted();
        subscription.owed |= is_first && !subscription.names.is_empty();
        session.check_total()?;
        Ok((is_first, acknowledgement))
    }

    fn speak(outgoing: Outgoing) -> Self::Response {
        let Outgoing { type_url, nonce, version, resources, .. } = outgoing;
        DiscoveryResponse {
            version_info: version,
            resources: resources.iter().map(|resource| resource.body().clone()).collect(),
            type_url: type_url.to_string(),
            nonce,
            ..DiscoveryResponse::default()
        }
    }
}
