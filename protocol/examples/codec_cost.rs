//! Prints what encoding and decoding cost: the head of a request with forty
//! variables and a small response. `cargo run --release --example codec_cost`
//! in this folder; nothing but this crate is measured, no socket, no Python.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use serde_bytes::Bytes;
use wsgid_protocol::payload::{decode, encode_frame_into};
use wsgid_protocol::request::{BodyKind, Call, RequestHead, RequestOptions};
use wsgid_protocol::response::{EndReport, ResponseHead};
use wsgid_protocol::{FrameHead, Kind};

const ROUNDS: u32 = 200_000;

/// The median of some runs, in nanoseconds per call.
fn cost(mut call: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            (0..ROUNDS / 7).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS / 7)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn variables() -> Vec<(String, String)> {
    let name = |index| format!("HTTP_X_VARIABLE_{index:02}");
    let value = |index: usize| "value of a usual length ".repeat(1 + index % 3);
    (0..40).map(|index| (name(index), value(index))).collect()
}

fn request(environ: &[(String, String)]) -> RequestHead<'_> {
    RequestHead {
        call: Call::Application,
        script: Bytes::new(b"/srv/site/wsgi.py"),
        callable: Bytes::new(b"application"),
        body: BodyKind::None,
        options: RequestOptions::default(),
        request_start_us: 1_700_000_000_000_000,
        queue_start_us: 1_700_000_000_000_100,
        environ: environ
            .iter()
            .map(|(name, value)| (Bytes::new(name.as_bytes()), Bytes::new(value.as_bytes())))
            .collect(),
    }
}

fn main() {
    let environ = variables();
    let head = request(&environ);
    let mut out = Vec::with_capacity(16 * 1024);
    encode_frame_into(FrameHead::new(Kind::Request, 1, 0), &head, &mut out)
        .expect("it is below the limit");
    let coded = out.split_off(16);
    println!(
        "request head, {} variables, {} bytes",
        environ.len(),
        coded.len()
    );
    let encode = cost(|| {
        out.clear();
        encode_frame_into(
            FrameHead::new(Kind::Request, 1, 0),
            black_box(&head),
            &mut out,
        )
        .expect("as above");
        black_box(&out);
    });
    let decode_cost = cost(|| {
        black_box(decode::<RequestHead<'_>>(black_box(&coded)).expect("it was encoded above"));
    });
    println!("  encode {encode:6.0} ns   decode {decode_cost:6.0} ns");

    let headers = vec![
        (
            Bytes::new(b"Content-Type"),
            Bytes::new(b"text/plain; charset=utf-8"),
        ),
        (Bytes::new(b"Content-Length"), Bytes::new(b"13")),
    ];
    let response = ResponseHead {
        status: 200,
        reason: Bytes::new(b"OK"),
        headers,
    };
    let end = EndReport {
        worker: 4711,
        in_flight: 1,
        request_us: 180,
        application_us: 90,
        queue_us: 40,
    };
    let encode = cost(|| {
        out.clear();
        encode_frame_into(
            FrameHead::new(Kind::Response, 1, 0),
            black_box(&response),
            &mut out,
        )
        .expect("short");
        encode_frame_into(FrameHead::new(Kind::End, 1, 0), black_box(&end), &mut out)
            .expect("short");
        black_box(&out);
    });
    out.clear();
    encode_frame_into(FrameHead::new(Kind::Response, 1, 0), &response, &mut out).expect("short");
    let coded = out.split_off(16);
    let decode_cost = cost(|| {
        black_box(decode::<ResponseHead<'_>>(black_box(&coded)).expect("it was encoded above"));
    });
    println!(
        "response head and end report\n  encode {encode:6.0} ns   decode {decode_cost:6.0} ns (head)"
    );
}
