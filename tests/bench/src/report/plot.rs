//! Bar charts as SVG, written by hand: one bar for each peer, a whisker for the quartiles.

use std::fmt::Write as _;

use crate::measure::Sample;
use crate::peer::Peer;
use crate::scenario::Load;
use crate::schedule::{Finding, Record};
use crate::statistic::Spread;

const BAR: f64 = 18.0;
const LEFT: f64 = 110.0;
const WIDTH: f64 = 520.0;

/// What a chart shows of a sample.
type Value = fn(&Sample) -> f64;

/// One chart: blocks of bars on one scale.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) title: String,
    blocks: Vec<(String, Vec<(Peer, Spread)>)>,
}

/// The value of a peer as a ratio to another's, round by round.
pub(super) fn ratio(
    finding: &Finding,
    peer: Peer,
    base: Peer,
    value: fn(&Sample) -> f64,
) -> Option<Spread> {
    let samples = finding.samples.get(&peer)?;
    let others = finding.samples.get(&base)?;
    let pairs = samples
        .iter()
        .zip(others)
        .filter(|(_, other)| value(other) > 0.0);
    Some(Spread::of(
        pairs.map(|(sample, other)| value(sample) / value(other)),
    ))
}

/// A chart of the rates and of the CPU time of closed loops, one of the tails of open loops.
pub(super) fn groups(record: &Record) -> Vec<Group> {
    let charts: [(&str, &str, bool, Value); 3] = [
        (
            "rate",
            "Requests per second, mod_wsgi = 1 (longer is better)",
            false,
            |sample| sample.rps,
        ),
        (
            "cpu",
            "CPU time per request, mod_wsgi = 1 (shorter is better)",
            false,
            |sample| sample.cpu,
        ),
        (
            "tail",
            "99 % of requests are answered within, mod_wsgi = 1 (shorter is better)",
            true,
            |sample| sample.p99,
        ),
    ];
    let mut groups = Vec::new();
    for (name, title, open, value) in charts {
        let blocks: Vec<_> = record
            .results
            .iter()
            .filter(|finding| matches!(finding.scenario.load, Load::Share(_)) == open)
            .map(|finding| {
                let bars = finding.samples.keys();
                let bars = bars
                    .filter_map(|peer| Some((*peer, ratio(finding, *peer, Peer::ModWsgi, value)?)));
                (finding.scenario.title(), bars.collect::<Vec<_>>())
            })
            .filter(|(_, bars)| !bars.is_empty())
            .collect();
        if !blocks.is_empty() {
            groups.push(Group {
                name: name.to_owned(),
                title: title.to_owned(),
                blocks,
            });
        }
    }
    groups
}

/// Draws a chart.
pub(super) fn bars(group: &Group) -> String {
    let most = group
        .blocks
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|(_, spread)| spread.high)
        .fold(1.0, f64::max);
    let scale = |value: f64| value / most * WIDTH;
    let mut body = String::new();
    let mut top = 40.0;
    for (title, bars) in &group.blocks {
        top += 22.0;
        let _ = writeln!(
            body,
            r##"<text x="8" y="{:.0}" font-weight="bold">{}</text>"##,
            top - 6.0,
            escape(title)
        );
        for (peer, spread) in bars {
            let middle = top + BAR / 2.0;
            let _ = writeln!(
                body,
                r##"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text><rect x="{LEFT}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{}"/><path d="M{:.1} {middle:.1}H{:.1}" stroke="#333"/><text x="{:.1}" y="{:.0}" fill="#333">{:.2}</text>"##,
                LEFT - 6.0,
                top + 13.0,
                escape(peer.name()),
                top + 1.5,
                scale(spread.median).max(0.5),
                BAR - 3.0,
                color(*peer),
                LEFT + scale(spread.low),
                LEFT + scale(spread.high),
                LEFT + scale(spread.high) + 6.0,
                top + 13.0,
                spread.median,
            );
            top += BAR;
        }
    }
    let one = LEFT + scale(1.0);
    let height = top + 16.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{:.0}" height="{height:.0}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/><text x="8" y="22" font-size="15">{}</text><path d="M{one:.1} 40V{top:.1}" stroke="#999" stroke-dasharray="3 3"/>
{body}</svg>
"##,
        LEFT + WIDTH + 60.0,
        escape(&group.title)
    )
}

fn color(peer: Peer) -> &'static str {
    match peer {
        Peer::ModWsgid => "#c0392b",
        Peer::Other => "#e59866",
        Peer::ModWsgi => "#2c5f8a",
        Peer::Uwsgi => "#6a9f4a",
        Peer::Granian => "#c98a2b",
        Peer::Gunicorn => "#7d6aa8",
        Peer::Floor => "#222222",
        Peer::Limit => "#555555",
        Peer::Static => "#aaaaaa",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Group, bars};
    use crate::peer::Peer;
    use crate::statistic::Spread;

    #[test]
    fn a_chart_has_a_bar_for_each_peer() {
        let block = vec![
            (Peer::ModWsgi, Spread::of([1.0])),
            (Peer::Uwsgi, Spread::of([2.0, 2.2])),
        ];
        let group = Group {
            name: "x".into(),
            title: "a < b".into(),
            blocks: vec![("hello".into(), block)],
        };
        let svg = bars(&group);
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(svg.contains("a &lt; b"));
    }
}
