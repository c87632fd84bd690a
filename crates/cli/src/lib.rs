//! cofidectl: everything that a person does
