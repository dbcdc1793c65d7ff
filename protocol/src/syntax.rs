//! How the values of options are written: each syntax reads a text into a field
//! and writes a field as texts that read back to the same. Used by the rows of
//! `option.rs`; knows of no option and of no group.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

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
pub(crate) const NAME: One<String> = One {
    read: name,
    write: same,
};
/// Any text.
pub(crate) const TEXT: One<String> = One {
    read: any,
    write: same,
};
/// Names between commas.
pub(crate) const NAMES: One<Vec<String>> = One {
    read: names,
    write: |names| Ok(names.join(",")),
};
/// A path from the root.
pub(crate) const ABSOLUTE: One<PathBuf> = One {
    read: absolute,
    write: |path| path_text(path),
};
/// The prefix of a Python.
pub(crate) const PYTHON_HOME: One<PathBuf> = One {
    read: python_home,
    write: |path| python_home_text(path),
};
/// Paths between colons.
pub(crate) const PATHS: One<Vec<PathBuf>> = One {
    read: path_list,
    write: |paths| path_list_text(paths),
};
/// `NAME=VALUE`.
pub(crate) const VARIABLE: One<(String, String)> = One {
    read: variable,
    write: |(name, value)| Ok(format!("{name}={value}")),
};
/// Permission bits.
pub(crate) const OCTAL: One<u32> = One {
    read: octal,
    write: |mask| Ok(format!("{mask:04o}")),
};
/// `On` or `Off`.
pub(crate) const ON_OFF: One<bool> = One {
    read: on_off,
    write: |on| Ok(if *on { "On" } else { "Off" }.to_owned()),
};
/// A nice value.
pub(crate) const NICE: One<i32> = One {
    read: nice,
    write: |nice| Ok(nice.to_string()),
};
/// A count from nothing to what 32 bits hold, in a field of 64.
pub(crate) const COUNT: One<u64> = One {
    read: |text| Ok(number(text, 0, u32::MAX)?.into()),
    write: |count| Ok(count.to_string()),
};
/// A level from 0 to 255.
pub(crate) const LEVEL: One<u8> = One {
    read: level,
    write: |level| Ok(level.to_string()),
};
/// Microseconds, as seconds with a fraction.
pub(crate) const SWITCH_INTERVAL: One<u64> = One {
    read: switch_interval,
    write: |micros| Ok(format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)),
};
/// A time in seconds, or with a unit.
pub(crate) const SECONDS: One<Duration> = One {
    read: seconds,
    write: |time| Ok(seconds_text(*time)),
};
/// A time in milliseconds, or with a unit; an hour at most.
pub(crate) const MILLISECONDS: One<Duration> = One {
    read: milliseconds,
    write: |time| Ok(format!("{}ms", time.as_millis())),
};

/// A structure as a JSON object.
pub(crate) const fn json<T: Serialize + DeserializeOwned>() -> One<T> {
    One {
        read: |text| {
            serde_json::from_str(text)
                .map_err(|error| format!("`{text}` is not understood: {error}"))
        },
        write: |value| serde_json::to_string(value).map_err(|error| error.to_string()),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    clippy::ptr_arg,
    reason = "the type of a writer"
)]
fn same(text: &String) -> Result<String, String> {
    Ok(text.clone())
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

fn path_list_text(paths: &[PathBuf]) -> Result<String, String> {
    let texts: Vec<String> = paths
        .iter()
        .map(|path| path_text(path))
        .collect::<Result<_, _>>()?;
    Ok(texts.join(":"))
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
    match value.parse::<u32>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!(
            "`{value}` is not a whole number from {min} to {max}"
        )),
    }
}

fn level(value: &str) -> Result<u8, String> {
    value
        .parse()
        .map_err(|_| format!("`{value}` is not a whole number from 0 to 255"))
}

fn nice(value: &str) -> Result<i32, String> {
    match value.parse::<i32>() {
        Ok(nice) if (-20..=19).contains(&nice) => Ok(nice),
        _ => Err(format!("`{value}` is not a nice value from -20 to 19")),
    }
}

fn switch_interval(value: &str) -> Result<u64, String> {
    match value.parse::<f64>() {
        // Python refuses an interval that rounds to no microsecond at all.
        Ok(seconds) if (1e-6..=3600.0).contains(&seconds) => Ok((seconds * 1e6).round() as u64),
        _ => Err(format!(
            "`{value}` is not a number of seconds from 0.000001 to 3600"
        )),
    }
}

/// Seconds, with an optional unit of `ms`, `s`, `m` or `h`.
fn seconds(value: &str) -> Result<Duration, String> {
    let at = value
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(value.len());
    let (digits, unit) = value.split_at(at);
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
    const HOUR: Duration = Duration::from_secs(3600);
    let has_unit = value.ends_with(|c: char| c.is_ascii_alphabetic());
    let time = if has_unit {
        seconds(value)?
    } else {
        seconds(&format!("{value}ms"))?
    };
    if time <= HOUR {
        Ok(time)
    } else {
        Err(format!("`{value}` is more than an hour"))
    }
}

fn bytes(value: &str, min: u64) -> Result<u64, String> {
    let at = value
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(value.len());
    let (digits, unit) = value.split_at(at);
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
