//! Runs the unit tests of the worker's part of placement: the extension itself
//! cannot be a test program, and this file of it needs no interpreter.

#[path = "../src/placement.rs"]
mod placement;
