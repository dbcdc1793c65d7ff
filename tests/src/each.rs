//! The same cases by each transport of a server: the suites that try them all
//! go through here, so that a case that fails says by which one.

use crate::wire::{Addresses, transports};
use crate::{Answer, Checked, Httpd, Log, Mpm, Transport, Wire};

/// One transport of a server.
pub struct On<'a> {
    /// The server.
    pub checked: &'a mut Checked,
    /// The ways to it.
    pub wire: &'a Addresses,
    /// The one to use.
    pub transport: Transport,
}

/// Runs the cases by each transport that httpd knows with this MPM, and at the
/// end looks whether all is well.
pub fn on_each(wire: Wire, mpm: Mpm, mut cases: impl FnMut(&mut On<'_>)) {
    let (_site, wire, mut checked) = wire.checked();
    for transport in transports(mpm) {
        cases(&mut On {
            checked: &mut checked,
            wire: &wire,
            transport: *transport,
        });
    }
    checked.finish();
}

impl On<'_> {
    /// Runs one case, whose failure names the transport.
    pub fn case(&mut self, name: &str, log: Log<'_>, body: impl FnOnce(&Addresses, &Httpd)) {
        let wire = self.wire;
        self.checked
            .case(&format!("{name} by {:?}", self.transport), log, |httpd| {
                body(wire, httpd)
            });
    }

    /// A case that needs no more than to get pages by this transport.
    pub fn gets(&mut self, name: &str, log: Log<'_>, look: impl FnOnce(&dyn Fn(&str) -> Answer)) {
        let transport = self.transport;
        self.case(name, log, |wire, _| {
            look(&|path: &str| wire.curl(transport, path).run())
        });
    }
}
