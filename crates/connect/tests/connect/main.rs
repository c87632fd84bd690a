//! The control plane as its clients meet it: a real server on a socket, real certificates, nothing in between.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod access;
mod agents;
mod audit;
mod bindings_by_pattern;
mod clients;
mod deleted_cluster;
mod explain;
mod federated_services;
mod federation_status;
mod federations;
mod idle;
mod partners;
mod plan_stream;
mod postgres_server;
mod rate;
mod rules;
mod start;
mod support;
