//! A page of documentation as a test sees it: its fenced blocks in order, and
//! in a `console` block the commands with the output that the page promises.
//! Pure; `machine` runs what is found here.

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    /// The first word behind the fence.
    pub language: String,
    /// The second word: the file that the block is.
    pub path: Option<String>,
    /// What is inside.
    pub text: String,
}

/// Whose prompt stands before a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// `$`: an ordinary user.
    User,
    /// `#`: root.
    Root,
}

/// A command, and what it prints according to the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who types it.
    pub who: Who,
    /// The command, all its lines.
    pub command: String,
    /// Lines that its output has, in this order; `…` stands for anything.
    pub output: Vec<String>,
}

/// The fenced blocks of a page.
///
/// # Panics
/// If a fence is not closed.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut words = info.split_whitespace().map(str::to_owned);
        let language = words.next().unwrap_or_default();
        let path = words.next();
        let mut text = String::new();
        loop {
            let (_, line) = lines
                .next()
                .unwrap_or_else(|| panic!("the fence of line {} is not closed", number + 1));
            if line.trim() == "```" {
                break;
            }
            text.push_str(line.get(indent..).unwrap_or_default());
            text.push('\n');
        }
        found.push(Block {
            line: number + 1,
            language,
            path,
            text,
        });
    }
    found
}

/// The commands of a `console` block.
///
/// # Panics
/// If it does not begin with a prompt.
#[must_use]
pub fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        let prompt = [("$ ", Who::User), ("# ", Who::Root)];
        let command = prompt
            .iter()
            .find_map(|(prompt, who)| Some((*who, line.strip_prefix(prompt)?)));
        match (steps.last_mut(), command) {
            (Some(step), _) if goes_on => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            (_, Some((who, command))) => {
                steps.push(Step {
                    who,
                    command: command.to_owned(),
                    output: Vec::new(),
                });
            }
            (Some(step), None) => step.output.push(line.to_owned()),
            (None, None) => panic!(
                "the block of line {} does not begin with a prompt",
                block.line
            ),
        }
        goes_on = line.ends_with('\\');
    }
    steps
}

/// The first promised line that an output lacks.
#[must_use]
pub fn missing<'p>(promised: &'p [String], output: &str) -> Option<&'p str> {
    let mut lines = output.lines();
    promised
        .iter()
        .map(String::as_str)
        .find(|wanted| !lines.any(|line| fits(wanted, line)))
}

/// Whether a line is as promised; `…` stands for anything.
fn fits(promised: &str, line: &str) -> bool {
    let mut parts = promised.trim_end().split('…');
    let Some(mut rest) = parts
        .next()
        .and_then(|first| line.trim_end().strip_prefix(first))
    else {
        return false;
    };
    let mut ends_open = false;
    for part in parts {
        ends_open = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    ends_open || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_steps() {
        let page =
            "text\n\n```console\n$ a \\\n  b\nout\n# c\n```\n\n```toml /etc/x.toml\nk = 1\n```\n";
        let found = blocks(page);
        assert_eq!(
            (found[0].line, found[1].path.as_deref()),
            (3, Some("/etc/x.toml"))
        );
        let steps = steps(&found[0]);
        assert_eq!(
            (steps[0].command.as_str(), steps[0].output.len()),
            ("a \\\n  b", 1)
        );
        assert_eq!((steps[1].who, steps[1].command.as_str()), (Who::Root, "c"));
    }

    #[test]
    fn promises_are_kept_in_order() {
        let promised = ["a…z".to_owned(), "b".to_owned()];
        assert_eq!(missing(&promised, "x\na 1 z\nb\n"), None);
        assert_eq!(missing(&promised, "b\na 1 z\n"), Some("b"));
        assert_eq!(missing(&promised, "a 1\nb\n"), Some("a…z"));
        assert!(fits("a…", "a and more") && !fits("a", "a and more"));
    }
}
