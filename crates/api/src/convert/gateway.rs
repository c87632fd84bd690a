//! `GatewaySpec` and `GatewayEntry` of `proto.federated_service.v1alpha1`: two messages of one shape.

use cofide_core::{Gateway, GatewayAddress, GatewayError, Port};

use super::{FieldError, also_owned, parse};
use crate::types::federated_service as proto;

impl TryFrom<&proto::GatewaySpec> for Gateway {
    type Error = FieldError;
    /// The path in the error begins inside of the gateway.
    fn try_from(message: &proto::GatewaySpec) -> Result<Self, FieldError> {
        gateway(&message.r#type, &message.hostname, &message.ip, message.port)
    }
}

impl TryFrom<&proto::GatewayEntry> for Gateway {
    type Error = FieldError;
    /// The path in the error begins inside of the gateway.
    fn try_from(message: &proto::GatewayEntry) -> Result<Self, FieldError> {
        gateway(&message.r#type, &message.hostname, &message.ip, message.port)
    }
}

fn gateway(kind: &str, hostname: &str, ip: &str, port: i32) -> Result<Gateway, FieldError> {
    let address = GatewayAddress::from_fields(hostname, ip).map_err(|error| {
        let field = if matches!(error, GatewayError::Ip(_)) { "ip" } else { "hostname" };
        FieldError::new(field, error)
    })?;
    let port = Port::try_from(i64::from(port)).map_err(|error| FieldError::new("port", error))?;
    Ok(Gateway { kind: parse("type", kind)?, address, port })
}

fn fields(gateway: &Gateway) -> (String, String, String, i32) {
    let hostname = gateway.address.hostname().map(ToString::to_string).unwrap_or_default();
    let ip = gateway.address.ip().map(|ip| ip.to_string()).unwrap_or_default();
    (gateway.kind.to_string(), hostname, ip, gateway.port.get().into())
}

impl From<&Gateway> for proto::GatewaySpec {
    fn from(gateway: &Gateway) -> Self {
        let (r#type, hostname, ip, port) = fields(gateway);
        Self { hostname, r#type, ip, port }
    }
}

impl From<&Gateway> for proto::GatewayEntry {
    fn from(gateway: &Gateway) -> Self {
        let (r#type, hostname, ip, port) = fields(gateway);
        Self { hostname, r#type, ip, port }
    }
}

also_owned!(Gateway => proto::GatewaySpec, Gateway => proto::GatewayEntry);
