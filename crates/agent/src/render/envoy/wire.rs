//! Shorthand for the messages that every renderer builds.

use std::net::IpAddr;
use std::time::Duration;

use cofide_core::{GatewayAddress, Port};
use cofide_xds::envoy::envoy::config::core::v3 as core;
use cofide_xds::envoy::google::protobuf;
use cofide_xds::{Any, Resource};
use prost::{Message, Name};

use super::Rendered;

pub(super) fn typed<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Adds a resource to what is rendered, under the type URL of its message.
pub(super) fn push<M: Message + Name>(rendered: &mut Rendered, name: String, message: &M) {
    let type_url = M::type_url();
    rendered.push((type_url.clone(), Resource::new(type_url, name, message)));
}

pub(super) fn duration(duration: Duration) -> Option<protobuf::Duration> {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Some(protobuf::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() })
}

pub(super) fn number(value: u32) -> Option<protobuf::UInt32Value> {
    Some(protobuf::UInt32Value { value })
}

pub(super) fn boolean(value: bool) -> Option<protobuf::BoolValue> {
    Some(protobuf::BoolValue { value })
}

/// An address in the notation that Envoy wants: host names and IP addresses alike, without brackets.
pub(super) fn address(protocol: core::socket_address::Protocol, host: String, port: u16) -> core::Address {
    let socket_address = core::SocketAddress {
        protocol: protocol.into(),
        address: host,
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(socket_address)) }
}

pub(super) fn tcp_address(ip: IpAddr, port: u16) -> core::Address {
    address(core::socket_address::Protocol::Tcp, ip.to_string(), port)
}

pub(super) fn udp_address(ip: IpAddr, port: u16) -> core::Address {
    address(core::socket_address::Protocol::Udp, ip.to_string(), port)
}

pub(super) fn endpoint_address(host: &GatewayAddress, port: Port) -> core::Address {
    address(core::socket_address::Protocol::Tcp, host.to_string(), port.get())
}

/// Notices that the other end is gone within a minute: a proxied connection may be idle for hours, and nothing else would.
pub(super) fn tcp_keepalive() -> Option<core::TcpKeepalive> {
    Some(core::TcpKeepalive { keepalive_time: number(30), keepalive_interval: number(10), keepalive_probes: number(3) })
}
