//! Where in a person's own files a traceback begins to be about them: for one line on the
//! terminal. Called by `progress`. The text comes from the application.

use std::path::Path;

/// Below these Python keeps what is not the person's.
const LIBRARIES: [&str; 3] = ["/site-packages/", "/dist-packages/", "/lib/python"];

/// The last place of the person's own code, and the exception. `root` holds files that were
/// generated.
pub(crate) fn in_one_line(traceback: &str, root: &Path) -> Option<String> {
    let mut lines = traceback.lines().map(str::trim_end).rev();
    let exception = lines.find(|line| !line.is_empty())?.trim_start();
    let frames: Vec<(&str, &str)> = traceback.lines().filter_map(frame).collect();
    let generated = root.to_string_lossy();
    let is_generated =
        |file: &str| file.starts_with('<') || file.strip_prefix(&*generated).is_some();
    let mut written = frames.iter().rev().filter(|(file, _)| !is_generated(file));
    let own = written
        .clone()
        .find(|(file, _)| !LIBRARIES.iter().any(|part| file.contains(part)));
    Some(match own.or_else(|| written.next()) {
        Some((file, line)) => format!("`{file}`, line {line}: {exception}"),
        None => exception.to_owned(),
    })
}

/// `  File "/srv/app.py", line 3, in <module>`.
fn frame(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    Some((file, rest.get(..end.unwrap_or(rest.len()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(frames: &[&str], exception: &str) -> Option<String> {
        let frames = frames
            .iter()
            .map(|frame| format!("  File \"{frame}, in <module>\n    x\n"));
        let text = format!(
            "Traceback (most recent call last):\n{}{exception}\n",
            frames.collect::<String>()
        );
        in_one_line(&text, Path::new("/srv/server"))
    }

    #[test]
    fn the_persons_own_file_is_named() {
        let handler = "/srv/server/handler.wsgi\", line 9";
        let frozen = "<frozen importlib._bootstrap>\", line 241";
        let own = "/srv/app.py\", line 3";
        let library = "/srv/venv/lib/python3.12/site-packages/django/x.py\", line 7";
        let error = "ImportError: no";
        let named = Some("`/srv/app.py`, line 3: ImportError: no".to_owned());
        assert_eq!(line(&[handler, frozen, own], error), named);
        assert_eq!(line(&[handler, own, library, frozen], error), named);
        assert_eq!(
            line(&[handler, library], error).as_deref(),
            Some("`/srv/venv/lib/python3.12/site-packages/django/x.py`, line 7: ImportError: no")
        );
        assert_eq!(line(&[handler], error).as_deref(), Some(error));
        assert_eq!(in_one_line("", Path::new("/x")), None);
        let syntax =
            "  File \"/srv/app.py\", line 2\n    def\n       ^\nSyntaxError: invalid syntax\n\n";
        assert_eq!(
            in_one_line(syntax, Path::new("/x")).as_deref(),
            Some("`/srv/app.py`, line 2: SyntaxError: invalid syntax")
        );
    }
}
