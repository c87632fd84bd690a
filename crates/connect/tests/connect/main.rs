//! The control plane as its clients meet it: a real server on a socket, real certificates, nothing in between.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod access;
mod agents;
mod audit;
mod clients;
mod deleted_cluster;
mod explain;
mod federated_services;
mod idle;
mod plan_stream;
mod postgres_server;
mod rate;
mod rules;
mod start;
mod support;
