//! The rules of planning, as examples, as properties of random worlds, and as the words that people read.

mod explain;
mod properties;
mod rules;
mod scale;
mod world;
