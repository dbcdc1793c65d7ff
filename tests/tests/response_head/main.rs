//! Response heads: what an application may say, what it must not, and what
//! httpd makes of it. The numbers are those of the list of cases.

mod bodies;
mod fields;
mod http_1;
mod server;
mod statuses;

use serde_json::json;
use wsgid_tests::wire::{NO_RESPONSES, quoted};
use wsgid_tests::{Limit, Log, Mpm, case, on_each, on_every_mpm};

use crate::bodies::{head_of_a_stream, head_requests, lengths, without_body};
use crate::fields::{fields, hints, hop_by_hop, large_heads};
use crate::server::wire;
use crate::statuses::{error_pages, injected_lines, no_statuses, redirects, statuses};

#[test]
fn heads_are_what_the_application_says_by_every_transport_on_every_mpm() {
    on_every_mpm(Limit::seconds(200), move |mpm| {
        on_each(wire(mpm), mpm, |on| {
            fields(on);
            statuses(on);
            no_statuses(on);
            injected_lines(on);
            hop_by_hop(on);
            head_requests(on);
            head_of_a_stream(on);
            without_body(on);
            lengths(on);
            hints(on);
            redirects(on);
            error_pages(on);
            large_heads(on);
        });
    });
}

#[test]
fn wrong_results_are_errors_and_odd_ones_are_served() {
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        let at = |which: &str| {
            format!(
                "/head/wrong?spec={}",
                quoted(&json!({ "which": which }).to_string())
            )
        };
        for (which, body) in [
            ("late start", "late but right"),
            ("empty list", ""),
            ("empty bytes", ""),
            ("empty items", "only"),
            ("tuple", "a tuple"),
            ("set", "a set"),
            ("dict", "a key"),
            ("generator", "a generator"),
            ("iterator", "an iterator"),
        ] {
            checked.case(which, Log::Quiet, |httpd| {
                let response = httpd.get(&at(which));
                assert_eq!((response.status, response.text().as_str()), (200, body));
            });
        }
        for which in NO_RESPONSES {
            checked.case(which, Log::Any, |httpd| {
                let response = httpd.get(&at(which));
                assert_eq!(response.status, 500, "{}", response.text());
                assert!(httpd.error_log().contains("Error"), "the log says why");
            });
        }
        checked.case("a text after the first piece", Log::Any, |httpd| {
            let result = httpd.client().get(&at("text later"));
            assert!(
                result.as_ref().is_err()
                    || result.as_ref().is_ok_and(|response| response.status == 500),
                "{result:?}"
            );
        });
        checked.case("exc_info after data", Log::Quiet, |httpd| {
            let response = httpd.get("/head/second-head");
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "first,raised again: 'in the middle'")
            );
        });
        checked.finish();
    });
}
