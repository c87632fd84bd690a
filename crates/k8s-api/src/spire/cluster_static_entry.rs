//! <https://github.com/spiffe/spire-controller-manager/blob/v0.6.3/docs/clusterstaticentry-crd.md>

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStaticEntrySpec {
    /// The class of controllers that act on it; empty for those that take objects without a class.
    pub class_name: String,
    #[serde(rename = "spiffeID")]
    pub spiffe_id: String,
    #[serde(rename = "parentID")]
    pub parent_id: String,
    /// As `type:value`.
    pub selectors: Vec<String>,
    /// Names of trust domains.
    pub federates_with: Vec<String>,
    pub dns_names: Vec<String>,
    /// Goes to the workload with its SVIDs.
    pub hint: String,
    /// May use SPIRE's own administrative APIs.
    pub admin: bool,
    /// Is a SPIRE server below this one.
    pub downstream: bool,
    /// A SVID store plugin keeps the SVIDs.
    #[serde(rename = "storeSVID")]
    pub store_svid: bool,
}

/// What the last run of the controller came to. It says nothing about which version of the object it was about, and
/// nothing about what the SPIRE server said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterStaticEntryStatus {
    pub rendered: bool,
    /// Another object asks for the same entry, which is older.
    pub masked: bool,
    /// The entry was created in that run; in all later ones this is `false`.
    pub set: bool,
}
