//! <https://istio.io/latest/docs/reference/config/networking/gateway/>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Port, known};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpec {
    /// Labels of the gateway's pods.
    pub selector: BTreeMap<String, String>,
    pub servers: Vec<Server>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    pub port: Port,
    pub hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub mode: Option<ServerTlsMode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// By the server name, to where a VirtualService says.
    Passthrough,
    /// By a server name that holds port and host (`outbound_.<port>_._.<host>`), without a VirtualService.
    AutoPassthrough,
    Simple,
    Mutual,
    IstioMutual,
    OptionalMutual,
}
