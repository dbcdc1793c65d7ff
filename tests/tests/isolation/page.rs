//! The table of attacks in `docs/isolation.md`, between its marks
//! (`UPDATE_DOCS=1 cargo test -p wsgid-tests --test isolation the_page`).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::table::{Attack, OWN_OF_THE_ISOLATED, PARTS, attacks};

const BEGIN: &str = "<!-- attacks: printed by tests/tests/isolation/page.rs -->\n";
const END: &str = "<!-- end of attacks -->\n";

const fn word(possible: bool) -> &'static str {
    if possible { "possible" } else { "refused" }
}

fn cells(attack: &Attack) -> [String; 3] {
    attack.possible.map(|[same, other]| {
        if !attack.on_a_site || same == other {
            return word(same).to_owned();
        }
        format!("same user: {}; another: {}", word(same), word(other))
    })
}

fn printed() -> String {
    let mut text = BEGIN.to_owned();
    for part in PARTS {
        let _ = write!(
            text,
            "\n### {}\n\n| attack | `none` | `private` | `strict` | stopped by |\n|---|---|---|---|---|\n",
            part.title
        );
        for attack in part.attacks {
            let [none, private, strict] = cells(attack);
            let _ = writeln!(
                text,
                "| {} | {none} | {private} | {strict} | {} |",
                attack.what,
                attack.by.words()
            );
        }
    }
    let own = attacks().filter(|attack| OWN_OF_THE_ISOLATED.contains(&attack.name));
    let own: Vec<&str> = own.map(|attack| attack.what).collect();
    let _ = write!(
        text,
        "\n### What counts is the isolation of who attacks\n\n\
         A site without isolation can do to an isolated one what it can do to any other, but these, as an isolated site \
         has nothing there for others: {}.\n\n",
        own.join("; ")
    );
    text + END
}

#[test]
fn the_page_has_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/isolation.md");
    let page = fs::read_to_string(&path).unwrap_or_default();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    let wanted = [before, &printed(), after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("the page can be written");
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        have == wanted,
        "docs/isolation.md is old; UPDATE_DOCS=1 cargo test -p wsgid-tests --test isolation the_page"
    );
}
