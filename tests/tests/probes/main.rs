//! What load balancers and deployments go by: `SetHandler wsgid-health`, `wsgid drain`,
//! `warm-up=`, `reload-surge=`.

mod deploys;
mod health;
