//! Random orders.
