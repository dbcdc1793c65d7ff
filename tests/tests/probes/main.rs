//! What load balancers and deployments go by: `SetHandler wsgid-health`, `wsgid drain`,
//! `warm-up=`, `reload-surge=`, and how start-server begins and ends.

mod deploys;
mod documented;
mod health;
mod starts;
