//! The incremental dialect: subscriptions, resources and removals one by one.

use std::collections::HashMap;
use std::sync::Arc;

use super::connection::Dialectic;
use super::limits::Violation;
use super::session::{Dialect, Outgoing, Session};
use super::subscription::{Acknowledgement, WILDCARD};
use crate::envoy::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource};
use crate::{Node, Rejection, Resource};

pub(crate) struct Delta;

impl Dialectic for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const DIALECT: Dialect = Dialect::Delta;

    fn type_url(request: &mut Self::Request) -> &mut String {
        &mut request.type_url
    }

    fn take_node(request: &mut Self::Request) -> Option<Node> {
        request.node.take()
    }

    fn held(request: &Self::Request) -> HashMap<String, String> {
        request.initial_resource_versions.clone()
    }

    fn hear(session: &mut Session, request: Self::Request) -> Result<(bool, Option<Acknowledgement>), Violation> {
        let DeltaDiscoveryRequest { type_url, resource_names_subscribe, resource_names_unsubscribe, initial_resource_versions, .. } =
            request;
        let limits = *session.limits();
        limits.check_names(&resource_names_subscribe)?;
        let (subscription, is_first) = session.subscription(&type_url)?;

        // The nonce pairs a word with a response and nothing more: a subscription counts whatever the nonce.
        let rejection = request.error_detail.map(Rejection::from_status);
        let acknowledgement = subscription.acknowledge(&request.response_nonce, rejection);

        if is_first {
            for (name, version) in initial_resource_versions {
                limits.check_length("resource name", &name)?;
                limits.check_length("resource version", &version)?;
                subscription.holdings.claim(name, version);
            }
            // Only what is subscribed counts here: there is nothing yet that could be given up.
            if resource_names_subscribe.is_empty() && !subscription.rules.by_name {
                subscription.want_everything();
            }
        } else if resource_names_subscribe.is_empty() && resource_names_unsubscribe.is_empty() {
            return Ok((false, acknowledgement));
        }

        // A stream may hold ten thousand names and give them up one by one, so each costs what one costs.
        let mut is_whole_in_doubt = is_first;
        for name in resource_names_unsubscribe {
            if name == WILDCARD {
                is_whole_in_doubt |= std::mem::take(&mut subscription.wildcard);
            } else if subscription.names.remove(&name) && subscription.wildcard {
                // The client cannot know whether the wildcard still covers the name.
                subscription.asked.insert(name.into());
            } else {
                subscription.drop_if_unwanted(&name);
            }
        }
        for name in resource_names_subscribe {
            if name == WILDCARD {
                subscription.want_everything();
                continue;
            }
            let name: Arc<str> = name.into();
            if is_first && subscription.holdings.contains(&name) {
                subscription.dirty.insert(name.clone());
            } else {
                // Sent even to a client that has it: it may have forgotten.
                subscription.asked.insert(name.clone());
            }
            subscription.names.insert(name);
        }
        if is_whole_in_doubt {
            subscription.drop_unwanted();
        }
        subscription.owed |= is_first && !subscription.names.is_empty();
        session.check_total()?;
        Ok((is_first, acknowledgement))
    }

    fn speak(outgoing: Outgoing) -> Self::Response {
        let Outgoing { type_url, nonce, version, resources, removed, complete } = outgoing;
        let wire = |resource: &Resource| WireResource {
            name: resource.name().to_owned(),
            version: resource.version().to_owned(),
            resource: Some(resource.body().clone()),
            ..WireResource::default()
        };
        DeltaDiscoveryResponse {
            type_url: type_url.to_string(),
            nonce,
            // Informational in the protocol. Left out while parts of the same answer are to follow, so that a client that
            // looks (ours does) knows when it has seen all.
            system_version_info: if complete { version } else { String::new() },
            resources: resources.iter().map(|resource| wire(resource)).collect(),
            removed_resources: removed,
            ..DeltaDiscoveryResponse::default()
        }
    }
}
