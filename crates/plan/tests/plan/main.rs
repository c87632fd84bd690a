//! The rules of planning, as examples, as properties of random worlds, and as the words that people read.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop at the first surprise, as tests may")]

mod explain;
mod properties;
mod rules;
mod scale;
mod world;

use cofide_test_objects as builders;
