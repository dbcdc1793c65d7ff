//! How the values of options are written: each syntax reads a text into a field
//! and writes a field as texts that read back to the same. Used by the rows of
//! `option.rs`; knows of no option and of no group.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::endpoint::Endpoint;
use crate::isolation::{self, Isolation, PortRange};
use crate::values::LogFormat;
use crate::warm_up::WarmUp;

/// A way to write the value of a field.
pub(crate) trait Syntax {
    /// What the field holds.
    type Value;

    /// Reads a text into the field.
    fn set(&self, field: &mut Self::Value, text: &str) -> Result<(), String>;

    /// Texts that give this value when they are set, one after the other, where
    /// the default was.
    fn texts(&self, value: &Self::Value) -> Result<Vec<String>, String>;
}

/// One text for one value.
pub(crate) struct One<T> {
    read: fn(&str) -> Result<T, String>,
    write: fn(&T) -> Result<String, String>,
}

const fn one<T>(
    read: fn(&str) -> Result<T, String>,
    write: fn(&T) -> Result<String, String>,
) -> One<T> {
    One { read, write }
}

impl<T> Syntax for One<T> {
    type Value = T;

    fn set(&self, field: &mut T, text: &str) -> Result<(), String> {
        *field = (self.read)(text)?;
        Ok(())
    }

    fn texts(&self, value: &T) -> Result<Vec<String>, String> {
        Ok(vec![(self.write)(value)?])
    }
}

/// A value that may be absent; absent is the default.
pub(crate) struct Maybe<S>(pub(crate) S);

impl<S: Syntax<Value: Default>> Syntax for Maybe<S> {
    type Value = Option<S::Value>;

    fn set(&self, field: &mut Self::Value, text: &str) -> Result<(), String> {
        let mut value = S::Value::default();
        self.0.set(&mut value, text)?;
        *field = Some(value);
        Ok(())
    }

    fn texts(&self, value: &Self::Value) -> Result<Vec<String>, String> {
        value
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |value| self.0.texts(value))
    }
}

/// An option that may be given again: each text is one element more.
pub(crate) struct Each<T>(pub(crate) One<T>);

impl<T> Syntax for Each<T> {
    type Value = Vec<T>;

    fn set(&self, field: &mut Vec<T>, text: &str) -> Result<(), String> {
        field.push((self.0.read)(text)?);
        Ok(())
    }

    fn texts(&self, value: &Vec<T>) -> Result<Vec<String>, String> {
        value
            .iter()
            .map(|element| (self.0.write)(element))
            .collect()
    }
}

/// A whole number within bounds.
pub(crate) struct Number {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Syntax for Number {
    type Value = u32;

    fn set(&self, field: &mut u32, text: &str) -> Result<(), String> {
        *field = number(text, self.min, self.max)?;
        Ok(())
    }

    fn texts(&self, value: &u32) -> Result<Vec<String>, String> {
        Ok(vec![value.to_string()])
    }
}

/// Bytes, with an optional unit of `K`, `M` or `G` (powers of 1024). Zero is
/// always allowed and means the default.
pub(crate) struct Bytes {
    pub(crate) min: u64,
}

impl Syntax for Bytes {
    type Value = u64;

    fn set(&self, field: &mut u64, text: &str) -> Result<(), String> {
        *field = bytes(text, self.min)?;
        Ok(())
    }

    fn texts(&self, value: &u64) -> Result<Vec<String>, String> {
        Ok(vec![value.to_string()])
    }
}

/// A name: one line that is not empty.
pub(crate) const NAME: One<String> = one(name, plain);
/// Any text.
pub(crate) const TEXT: One<String> = one(any, plain);
/// Names between commas.
pub(crate) const NAMES: One<Vec<String>> = one(names, |names| Ok(names.join(",")));
/// A path from the root.
pub(crate) const ABSOLUTE: One<PathBuf> = one(absolute, |path| path_text(path));
/// The prefix of a Python.
pub(crate) const PYTHON_HOME: One<PathBuf> = one(python_home, |path| python_home_text(path));
/// Paths between colons.
pub(crate) const PATHS: One<Vec<PathBuf>> = one(path_list, |paths| path_list_text(paths));
/// Paths from the root between colons.
pub(crate) const ABSOLUTE_PATHS: One<Vec<PathBuf>> =
    one(absolute_list, |paths| path_list_text(paths));
/// `NAME=VALUE`.
pub(crate) const VARIABLE: One<(String, String)> =
    one(variable, |(name, value)| Ok(format!("{name}={value}")));
/// Permission bits.
pub(crate) const WARM_UP: One<String> =
    one(|text| WarmUp::read(text).map(|_| text.to_owned()), plain);

pub(crate) const OCTAL: One<u32> = one(octal, |mask| Ok(format!("{mask:04o}")));
/// `On` or `Off`.
pub(crate) const ON_OFF: One<bool> =
    one(on_off, |on| Ok(if *on { "On" } else { "Off" }.to_owned()));
/// A nice value.
pub(crate) const NICE: One<i32> = one(|text| within(text, -20..=19, "a nice value"), plain);
/// A count from nothing to what 32 bits hold, in a field of 64.
pub(crate) const COUNT: One<u64> = one(|text| Ok(number(text, 0, u32::MAX)?.into()), plain);
/// A level from 0 to 255.
pub(crate) const LEVEL: One<u8> = one(|text| within(text, 0..=255, "a whole number"), plain);
/// Microseconds, as seconds with a fraction.
pub(crate) const SWITCH_INTERVAL: One<u64> = one(switch_interval, |micros| {
    Ok(format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000))
});
/// How lines are written.
pub(crate) const LOG_FORMAT: One<LogFormat> =
    one(LogFormat::named, |format| Ok(format.name().to_owned()));
/// A set of restrictions.
pub(crate) const ISOLATION: One<Isolation> =
    one(Isolation::named, |preset| Ok(preset.name().to_owned()));
/// Ports and ranges of them between commas.
pub(crate) const PORTS: One<Vec<PortRange>> = one(PortRange::read_list, |ranges| {
    Ok(PortRange::list_text(ranges))
});
/// Address families between commas.
pub(crate) const FAMILIES: One<Vec<String>> =
    one(isolation::read_families, |names| Ok(names.join(",")));
/// System calls between commas.
pub(crate) const CALLS: One<Vec<String>> = one(isolation::read_calls, |names| Ok(names.join(",")));
/// A collector of traces.
pub(crate) const ENDPOINT: One<Endpoint> = one(str::parse, plain);
/// A part of one, in millionths.
pub(crate) const RATIO: One<u32> = one(ratio, |parts| Ok((f64::from(*parts) / 1e6).to_string()));
/// A time in seconds, or with a unit.
pub(crate) const SECONDS: One<Duration> = one(seconds, |time| Ok(seconds_text(*time)));
/// A time in milliseconds, or with a unit; an hour at most.
pub(crate) const MILLISECONDS: One<Duration> =
    one(milliseconds, |time| Ok(format!("{}ms", time.as_millis())));

/// A structure as a JSON object.
pub(crate) const fn json<T: Serialize + DeserializeOwned>() -> One<T> {
    one(
        |text| {
            serde_json::from_str(text)
                .map_err(|error| format!("`{text}` is not understood: {error}"))
        },
        |value| serde_json::to_string(value).map_err(|error| error.to_string()),
    )
}

#[expect(clippy::unnecessary_wraps, reason = "the type of a writer")]
fn plain<T: Display>(value: &T) -> Result<String, String> {
    Ok(value.to_string())
}

fn any(value: &str) -> Result<String, String> {
    if value.contains('\0') {
        return Err(format!("`{value}` contains a NUL"));
    }
    Ok(value.to_owned())
}

fn name(value: &str) -> Result<String, String> {
    if value.is_empty() || value.contains(['\0', '\n', '\r']) {
        return Err(format!("`{value}` is not a name"));
    }
    Ok(value.to_owned())
}

fn names(value: &str) -> Result<Vec<String>, String> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    value.split(',').map(|part| name(part.trim())).collect()
}

pub(crate) fn absolute(value: &str) -> Result<PathBuf, String> {
    if !value.starts_with('/') || value.contains('\0') {
        return Err(format!("`{value}` is not an absolute path"));
    }
    Ok(PathBuf::from(value))
}

pub(crate) fn path_text(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("the path `{}` is not UTF-8", path.display()))
}

/// People give the interpreter itself, or its library directory: take the
/// prefix that they meant.
fn python_home(value: &str) -> Result<PathBuf, String> {
    let path = absolute(value)?;
    let is_python = path
        .file_name()
        .and_then(|last| last.to_str())
        .is_some_and(|last| last.starts_with("python"));
    let parent = path.parent();
    let directory = parent.and_then(Path::file_name);
    let is_inside = directory.is_some_and(|name| name == "bin" || name == "lib");
    match parent.and_then(Path::parent) {
        Some(prefix) if is_python && is_inside => Ok(prefix.to_path_buf()),
        _ => Ok(path),
    }
}

fn python_home_text(path: &Path) -> Result<String, String> {
    let text = path_text(path)?;
    // A prefix that looks like an interpreter would be cut once more.
    if python_home(&text).is_ok_and(|read| read == path) {
        Ok(text)
    } else {
        Ok(format!("{text}/lib/python"))
    }
}

fn path_list(value: &str) -> Result<Vec<PathBuf>, String> {
    if value.contains('\0') {
        return Err(format!("`{value}` contains a NUL"));
    }
    Ok(value
        .split(':')
        .filter(|part| !part.is_empty())
        .map(PathBuf::from)
        .collect())
}

fn absolute_list(value: &str) -> Result<Vec<PathBuf>, String> {
    let parts = value.split(':').filter(|part| !part.is_empty());
    parts.map(absolute).collect()
}

fn path_list_text(paths: &[PathBuf]) -> Result<String, String> {
    let texts: Result<Vec<String>, String> = paths.iter().map(|path| path_text(path)).collect();
    Ok(texts?.join(":"))
}

fn variable(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some((key, text)) if !key.is_empty() && !value.contains('\0') => {
            Ok((key.to_owned(), text.to_owned()))
        }
        _ => Err(format!("`{value}` is not NAME=VALUE")),
    }
}

fn octal(value: &str) -> Result<u32, String> {
    match u32::from_str_radix(value, 8) {
        Ok(mask) if mask <= 0o777 => Ok(mask),
        _ => Err(format!("`{value}` is not an octal number from 0 to 0777")),
    }
}

fn on_off(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{value}` is neither On nor Off")),
    }
}

pub(crate) fn number(value: &str, min: u32, max: u32) -> Result<u32, String> {
    within(value, min..=max, "a whole number")
}

fn within<T: FromStr + PartialOrd + Display>(
    value: &str,
    bounds: RangeInclusive<T>,
    what: &str,
) -> Result<T, String> {
    match value.parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!(
            "`{value}` is not {what} from {} to {}",
            bounds.start(),
            bounds.end()
        )),
    }
}

fn switch_interval(value: &str) -> Result<u64, String> {
    // Python refuses an interval that rounds to no microsecond at all.
    let seconds: f64 = within(value, 1e-6..=3600.0, "a number of seconds")?;
    Ok((seconds * 1e6).round() as u64)
}

fn ratio(value: &str) -> Result<u32, String> {
    let part: f64 = within(value, 0.0..=1.0, "a number")?;
    Ok((part * 1e6).round() as u32)
}

/// The digits of a value, and the unit behind them.
fn split_unit(value: &str) -> (&str, &str) {
    let unit = value.find(|c: char| c.is_ascii_alphabetic());
    value.split_at(unit.unwrap_or(value.len()))
}

/// Seconds, with an optional unit of `ms`, `s`, `m` or `h`.
fn seconds(value: &str) -> Result<Duration, String> {
    let (digits, unit) = split_unit(value);
    let scale_ms = match unit {
        "" | "s" => 1000,
        "ms" => 1,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{unit}` is not a unit of time; use s, ms, m or h")),
    };
    // The largest that C's int holds, which people write for "never".
    match digits.parse::<u64>() {
        Ok(count) if count <= u64::from(u32::MAX) => Ok(Duration::from_millis(count * scale_ms)),
        _ => Err(format!(
            "`{value}` is not a whole number, 0 or more, with or without a unit of ms, s, m or h"
        )),
    }
}

/// The smallest unit whose count may be written.
fn seconds_text(time: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [(1000, ""), (1, "ms"), (60_000, "m"), (3_600_000, "h")];
    let millis = time.as_millis();
    for (scale, unit) in UNITS {
        if millis.is_multiple_of(scale) && millis / scale <= u128::from(u32::MAX) {
            return format!("{}{unit}", millis / scale);
        }
    }
    // Nothing that was read is so long.
    format!("{}h", u32::MAX)
}

/// Milliseconds, or a time with its unit; an hour at most.
fn milliseconds(value: &str) -> Result<Duration, String> {
    let has_unit = value.ends_with(|c: char| c.is_ascii_alphabetic());
    let unit = if has_unit { "" } else { "ms" };
    let time = seconds(&format!("{value}{unit}"))?;
    if time > Duration::from_secs(3600) {
        return Err(format!("`{value}` is more than an hour"));
    }
    Ok(time)
}

fn bytes(value: &str, min: u64) -> Result<u64, String> {
    let (digits, unit) = split_unit(value);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("`{unit}` is not a unit of size; use K, M or G")),
    };
    let count = digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(1 << shift));
    match count {
        Some(count) if count == 0 || count >= min => Ok(count),
        Some(_) => Err(format!(
            "`{value}` is below the least value of {min} bytes (0 is the default)"
        )),
        None => Err(format!("`{value}` is not a number of bytes")),
    }
}
