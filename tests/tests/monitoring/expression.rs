//! An expression of PromQL, looked at as far as names, labels and brackets go: whether
//! metrics are ours, whether they have the labels that are asked for, whether functions are
//! known. Pure.

use wsgid_protocol::metrics::{MetricFamily, MetricKind, TABLE};

const FUNCTIONS: &[&str] = &[
    "rate",
    "increase",
    "resets",
    "sum",
    "max",
    "count",
    "vector",
    "histogram_quantile",
    "or",
    "and",
    "unless",
];

/// What comes in front of a list of labels.
const LISTS: &[&str] = &["by", "on", "without", "ignoring"];

/// Labels that Prometheus adds.
const ADDED: &[&str] = &["instance", "job"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text,
    Number,
    Time,
    Sign(char),
}

#[derive(Debug)]
pub(crate) struct Expression(Vec<Token>);

/// The family of a sample's name, and the label that the kind adds.
fn family(sample: &str) -> Option<(&'static MetricFamily, Option<&'static str>)> {
    TABLE.iter().find_map(|family| {
        let suffix = sample.strip_prefix(family.name)?;
        let more = match (family.kind, suffix) {
            (MetricKind::Gauge, "") | (MetricKind::Info, "_info") => None,
            (MetricKind::Counter, "_total" | "_created") => None,
            (MetricKind::Histogram, "_bucket") => Some("le"),
            (MetricKind::Histogram, "_count" | "_sum" | "_created") => None,
            _ => return None,
        };
        Some((family, more))
    })
}

/// The families that a text names.
pub(crate) fn families(text: &str) -> Vec<&'static str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter_map(|word| Some(family(word)?.0.name))
        .collect()
}

impl Expression {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let (token, len) = match first {
                '"' => {
                    let end = rest[1..].find('"').ok_or("a text does not end")?;
                    (Token::Text, end + 2)
                }
                '[' => {
                    let end = rest.find(']').ok_or("a time does not end")?;
                    let (number, unit) = rest[1..end].split_at(end.saturating_sub(2));
                    let is_time = number.parse::<u32>().is_ok() && "smhd".contains(unit);
                    (is_time.then_some(Token::Time).ok_or("no time")?, end + 1)
                }
                _ if first.is_ascii_alphabetic() || first == '_' => {
                    let is_in = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let len = rest.find(|c| !is_in(c)).unwrap_or(rest.len());
                    (Token::Word(rest[..len].to_owned()), len)
                }
                _ if first.is_ascii_digit() => {
                    let is_in = |c: char| c.is_ascii_digit() || c == '.';
                    (
                        Token::Number,
                        rest.find(|c| !is_in(c)).unwrap_or(rest.len()),
                    )
                }
                _ if "(){},=~!<>/*+-".contains(first) => (Token::Sign(first), 1),
                other => return Err(format!("`{other}` has no meaning")),
            };
            tokens.push(token);
            rest = rest[len..].trim_start();
        }
        Ok(Self(tokens))
    }

    /// Whether all of it is known.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_brackets()?;
        let mut labels: Vec<&str> = ADDED.to_vec();
        let mut listed = Vec::new();
        let mut at = 0;
        while let Some(token) = self.0.get(at) {
            at += 1;
            let Token::Word(word) = token else { continue };
            if LISTS.contains(&word.as_str()) {
                let end = self.end_of(at, ')');
                listed.extend(self.words(at, end));
                at = end;
            } else if let Some((family, more)) = family(word) {
                let own = || family.labels.iter().copied().chain(more);
                labels.extend(own());
                if self.0.get(at) == Some(&Token::Sign('{')) {
                    let end = self.end_of(at, '}');
                    let mut asked = self.words(at, end);
                    let is_one = |label: &&str| {
                        !own().any(|known| known == *label) && !ADDED.contains(label)
                    };
                    if let Some(label) = asked.find(is_one) {
                        return Err(format!("`{word}` has no label `{label}`"));
                    }
                    at = end;
                }
            } else if word == "up" {
                at = self.end_of(at, '}');
            } else if !FUNCTIONS.contains(&word.as_str()) {
                return Err(format!("`{word}` is neither a metric nor a function"));
            }
        }
        match listed.into_iter().find(|label| !labels.contains(label)) {
            Some(label) => Err(format!("nothing has a label `{label}`")),
            None => Ok(()),
        }
    }

    fn check_brackets(&self) -> Result<(), String> {
        let mut open = Vec::new();
        for token in &self.0 {
            match token {
                Token::Sign('(') => open.push(')'),
                Token::Sign('{') => open.push('}'),
                Token::Sign(sign @ (')' | '}')) if open.pop() != Some(*sign) => {
                    return Err(format!("`{sign}` closes nothing"));
                }
                _ => {}
            }
        }
        open.pop()
            .map_or(Ok(()), |sign| Err(format!("there is no `{sign}`")))
    }

    /// Behind the next such sign.
    fn end_of(&self, at: usize, sign: char) -> usize {
        let rest = self.0[at..].iter();
        at + rest
            .take_while(|token| **token != Token::Sign(sign))
            .count()
    }

    fn words(&self, from: usize, to: usize) -> impl Iterator<Item = &str> {
        self.0[from..to].iter().filter_map(|token| match token {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        })
    }
}
