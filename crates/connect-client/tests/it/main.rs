//! The client against a server over real TLS, with certificates from the product's own authority.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod channel;
mod plan_stream;
mod support;
