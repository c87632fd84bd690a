//! Who spoke with whom: one line on Envoy's standard output for each connection that ends.
//!
//! The identities are those that the handshakes proved. An application that speaks plain text sees neither; here its
//! operator does. Where TLS is passed through, Envoy sees no certificate and writes `-`.

use cofide_xds::envoy::envoy::config::accesslog::v3::{AccessLog, access_log};
use cofide_xds::envoy::envoy::config::core::v3::data_source::Specifier;
use cofide_xds::envoy::envoy::config::core::v3::substitution_format_string::Format;
use cofide_xds::envoy::envoy::config::core::v3::{DataSource, SubstitutionFormatString};
use cofide_xds::envoy::envoy::extensions::access_loggers::stream::v3::{StdoutAccessLog, stdout_access_log::AccessLogFormat};

use super::wire;

const FORMAT: &str = concat!(
    "[%START_TIME%] service=%FILTER_CHAIN_NAME% client=%DOWNSTREAM_REMOTE_ADDRESS% client_id=%DOWNSTREAM_PEER_URI_SAN% ",
    "server=%UPSTREAM_HOST% server_id=%UPSTREAM_PEER_URI_SAN% received=%BYTES_RECEIVED% sent=%BYTES_SENT% milliseconds=%DURATION% ",
    "flags=%RESPONSE_FLAGS% failure=%UPSTREAM_TRANSPORT_FAILURE_REASON%\n"
);

pub(super) fn access_log() -> AccessLog {
    let text = DataSource { specifier: Some(Specifier::InlineString(FORMAT.to_owned())), ..Default::default() };
    let format = SubstitutionFormatString { format: Some(Format::TextFormatSource(text)), ..Default::default() };
    let log = StdoutAccessLog { access_log_format: Some(AccessLogFormat::LogFormat(format)) };
    AccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        config_type: Some(access_log::ConfigType::TypedConfig(wire::typed(&log))),
        ..Default::default()
    }
}
