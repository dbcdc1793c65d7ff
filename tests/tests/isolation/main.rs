//! Attacks from inside a worker on another site, of the same user and of another, and on the
//! machine: with each preset those are possible that the table says, and no others.

mod page;
mod places;
mod run;
mod sites;
mod table;

use wsgid_tests::{Httpd, Limit, case, users};

use run::{Pair, Server};
use sites::Preset;

#[test]
fn root_attacks_are_possible_where_the_table_says_so() {
    case(Limit::seconds(400), || {
        let Some([one, two, _]) = users::three() else {
            return;
        };
        let presets = Preset::all();
        let server = Server::start(Httpd::builder(), &[Some(one), Some(two)], presets);
        let mut wrong = Vec::new();
        for preset in presets.iter().copied() {
            // Whoever attacks is held by its own isolation, whether the other has one or not.
            for victims in [preset, Preset::None] {
                let pair = Pair {
                    attacker: server.attacker(preset),
                    victims: server.victims(victims),
                };
                wrong.extend(server.attack_all(&pair, |_| true));
                if preset == Preset::None {
                    break;
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        server.httpd.stop();
    });
}
