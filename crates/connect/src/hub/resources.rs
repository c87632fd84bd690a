//! Plan resources as xDS resources.

use cofide_api::convert::plan_resource;
use cofide_plan::PlanResource;
use cofide_xds::{Any, Resource};

/// The resource with its type URL.
pub(super) fn encode(resource: &PlanResource) -> (String, Resource) {
    let type_url = plan_resource::type_url(&resource.key()).to_owned();
    let body = Any { type_url: type_url.clone(), value: plan_resource::encode(resource) };
    (type_url, Resource::from_any(plan_resource::name_of(resource), body))
}

/// The version under which a cluster holds the resource if it holds it as it is now.
pub fn version(resource: &PlanResource) -> String {
    encode(resource).1.version().to_owned()
}
