//! Clusters.

use cofide_api::types::cluster::Cluster;
use cofide_api::types::trust_zone::TrustZone;
use prost_types::value::Kind;
use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::{moment, or_nothing};
use crate::printer::{Table, View};
use crate::resolve::Directory;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterView {
    pub id: String,
    pub name: String,
    pub trust_zone: String,
    pub profile: String,
    pub trust_provider: Option<String>,
    pub kubernetes_context: Option<String>,
    pub oidc_issuer_url: Option<String>,
    pub oidc_issuer_ca_cert: Option<String>,
    pub external_server: bool,
    pub extra_helm_values: Option<Value>,
    pub created_at: Option<String>,
    pub last_updated_at: Option<String>,
}

impl ClusterView {
    pub fn new(cluster: &Cluster, zones: &Directory<TrustZone>) -> Self {
        let certificate = cluster.oidc_issuer_ca_cert.as_ref().filter(|certificate| !certificate.is_empty());
        Self {
            id: cluster.id().to_owned(),
            name: cluster.name().to_owned(),
            trust_zone: zones.name_of(cluster.trust_zone_id()).to_owned(),
            profile: cluster.profile().to_owned(),
            trust_provider: cluster.trust_provider.as_ref().and_then(|provider| provider.kind.clone()),
            kubernetes_context: cluster.kubernetes_context.clone().filter(|context| !context.is_empty()),
            oidc_issuer_url: cluster.oidc_issuer_url.clone().filter(|url| !url.is_empty()),
            oidc_issuer_ca_cert: certificate.map(|certificate| String::from_utf8_lossy(certificate).into_owned()),
            external_server: cluster.external_server(),
            extra_helm_values: cluster.extra_helm_values.as_ref().map(object),
            created_at: moment!(cluster.created_at),
            last_updated_at: moment!(cluster.last_updated_at),
        }
    }
}

fn object(values: &prost_types::Struct) -> Value {
    Value::Object(values.fields.iter().map(|(key, field)| (key.clone(), value(field))).collect::<Map<_, _>>())
}

fn value(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(*flag),
        Some(Kind::NumberValue(number)) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(self::value).collect()),
        Some(Kind::StructValue(fields)) => object(fields),
    }
}

impl View for ClusterView {
    fn tables(&self) -> Vec<Table> {
        let values = self.extra_helm_values.as_ref().map(|values| serde_saphyr::to_string(values).unwrap_or_default());
        vec![Table::of_fields([
            ("Name", self.name.clone()),
            ("Trust Zone", self.trust_zone.clone()),
            ("Profile", self.profile.clone()),
            ("Trust Provider", or_nothing(self.trust_provider.as_deref())),
            ("Kubernetes Context", or_nothing(self.kubernetes_context.as_deref())),
            ("OIDC Issuer URL", or_nothing(self.oidc_issuer_url.as_deref())),
            ("OIDC Issuer CA Cert", shortened(&or_nothing(self.oidc_issuer_ca_cert.as_deref()))),
            ("External Server", self.external_server.to_string()),
            ("Extra Helm Values", shortened(&or_nothing(values.as_deref()))),
        ])]
    }
}

/// A table is no place for whole files; the other formats have them.
fn shortened(text: &str) -> String {
    const MAX: usize = 100;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("[truncated]\n{}...", &text[..end]),
        None => text.trim_end().to_owned(),
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct ClustersView(pub Vec<ClusterView>);

impl View for ClustersView {
    fn tables(&self) -> Vec<Table> {
        let row = |cluster: &ClusterView| vec![cluster.name.clone(), cluster.trust_zone.clone(), cluster.profile.clone()];
        vec![Table::new(["Name", "Trust Zone", "Profile"]).rows(self.0.iter().map(row))]
    }
}
