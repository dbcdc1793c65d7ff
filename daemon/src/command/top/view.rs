//! What `wsgid top` draws, and what keys change of it. Nothing here asks or waits. Texts of
//! a tenant are one harmless line each.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::termion::event::Key;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use wsgid_protocol::in_flight::Activity;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::status::Urgency;

use super::groups::{GroupRow, Groups, SortedBy};
use crate::command::rows::{RequestRow, requests};

const KEYS: &str = "q quit   s sort   r reverse   up/down group   Esc all groups";

/// What is shown.
#[derive(Default)]
pub(super) struct View {
    pub(super) groups: Groups,
    /// Why the numbers are old.
    pub(super) problem: Option<String>,
    sorted_by: SortedBy,
    is_reversed: bool,
    /// The group whose requests alone are shown.
    selected: Option<String>,
}

impl View {
    pub(super) fn pressed(&mut self, key: Key) {
        match key {
            Key::Char('s') | Key::Right => self.sorted_by = self.sorted_by.next(),
            Key::Char('r') => self.is_reversed = !self.is_reversed,
            Key::Down | Key::Char('j') => self.select(1),
            Key::Up | Key::Char('k') => self.select(-1),
            Key::Esc => self.selected = None,
            _ => {}
        }
    }

    /// Another group, so many rows further on; above the first one is none.
    fn select(&mut self, by: isize) {
        let rows = self.groups.rows(self.sorted_by, self.is_reversed);
        let at = self.place_of_selected(&rows).map_or(-1, usize::cast_signed);
        let last = rows.len().cast_signed() - 1;
        let next = usize::try_from((at + by).min(last));
        self.selected = next.ok().map(|next| rows[next].name.clone());
    }

    fn place_of_selected(&self, rows: &[&GroupRow]) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        rows.iter().position(|row| row.name == *selected)
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows = view.groups.rows(view.sorted_by, view.is_reversed);
    let all = requests(&view.groups.status);
    let of_selected =
        |row: &RequestRow<'_>| view.selected.as_ref().is_none_or(|one| row.group == one);
    let shown: Vec<RequestRow<'_>> = all.into_iter().filter(of_selected).collect();
    // Each table has half of the screen, and what the other one does not need.
    let room = frame.area().height.saturating_sub(5);
    let wanted = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
    let left = room.saturating_sub(wanted(shown.len()));
    let above = wanted(rows.len()).min(left.max(room / 2));
    let areas = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(above + 1),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [head, groups, in_flight, keys] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(headlines(view, &rows)), head);
    draw_groups(frame, groups, view, &rows);
    draw_requests(frame, in_flight, &shown);
    let soft = Style::new().add_modifier(Modifier::DIM);
    frame.render_widget(Paragraph::new(KEYS).style(soft), keys);
}

fn headlines(view: &View, rows: &[&GroupRow]) -> Vec<Line<'static>> {
    let status = &view.groups.status;
    let count = rows.len();
    let bad = rows
        .iter()
        .filter(|row| row.urgency == Urgency::Bad)
        .count();
    let busy: u64 = rows.iter().fold(0, |sum, row| row.busy.saturating_add(sum));
    let waiting: u64 = rows
        .iter()
        .fold(0, |sum, row| row.waiting.saturating_add(sum));
    let groups = if count == 1 { "group" } else { "groups" };
    let mut second = vec![Span::raw(format!("{count} {groups}, "))];
    let of_bad = Span::raw(format!("{bad} with problems"));
    second.push(if bad > 0 {
        of_bad.style(style(Urgency::Bad))
    } else {
        of_bad
    });
    let order = if view.is_reversed { ", reversed" } else { "" };
    second.push(Span::raw(format!(
        ", {busy} in flight, {waiting} waiting; sorted by {}{order}",
        title(view.sorted_by)
    )));
    let version = escaped(status.version.as_bytes());
    let first = match &view.problem {
        Some(problem) => Line::styled(escaped(problem.as_bytes()), style(Urgency::Bad)),
        None => Line::raw(format!(
            "wsgid {version} (pid {}), up {}",
            status.pid,
            time(status.uptime_s)
        )),
    };
    vec![first, Line::from(second)]
}

const fn title(by: SortedBy) -> &'static str {
    match by {
        SortedBy::Busy => "BUSY",
        SortedBy::Waiting => "WAIT",
        SortedBy::Rate => "REQ/S",
        SortedBy::Slowest => "99 %",
        SortedBy::Memory => "MEMORY",
        SortedBy::Processor => "CPU",
        SortedBy::Name => "GROUP",
    }
}

const fn style(urgency: Urgency) -> Style {
    match urgency {
        Urgency::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Urgency::Passing => Style::new().fg(Color::Yellow),
        Urgency::Good => Style::new().fg(Color::Green),
        Urgency::Resting => Style::new().add_modifier(Modifier::DIM),
    }
}

fn draw_groups(frame: &mut Frame<'_>, area: Rect, view: &View, rows: &[&GroupRow]) {
    let head = [
        "GROUP", "STATE", "READY", "BUSY", "WAIT", "REQ/S", "99 %", "MEMORY", "CPU",
    ];
    let head = head.map(|name| {
        let is_sorted = name == title(view.sorted_by);
        let underlined = Style::new().add_modifier(Modifier::UNDERLINED);
        Cell::from(name).style(if is_sorted { underlined } else { Style::new() })
    });
    let selected = view.place_of_selected(rows);
    // The selected one is on the screen.
    let fit = usize::from(area.height.saturating_sub(1)).max(1);
    let first = selected.map_or(0, |at| (at + 1).saturating_sub(fit));
    let lines = rows.iter().enumerate().skip(first).map(|(at, row)| {
        let line = Row::new([
            Cell::from(escaped(row.name.as_bytes())),
            Cell::from(row.state).style(style(row.urgency)),
            Cell::from(format!("{}/{}", row.ready, row.workers)),
            Cell::from(format!("{}/{}", row.busy, row.capacity)),
            Cell::from(row.waiting.to_string()),
            Cell::from(or_none(row.per_second, |rate| format!("{rate:.1}"))),
            Cell::from(or_none(row.slowest_us, |us| format!("<{}", duration(us)))),
            Cell::from(or_none(row.memory, bytes)),
            Cell::from(or_none(row.processors, |used| {
                format!("{:.0}%", used * 100.0)
            })),
        ]);
        let is_selected = selected == Some(at);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        line.style(if is_selected { reversed } else { Style::new() })
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(16),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(5),
    ];
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(
        Table::new(lines, widths).header(Row::new(head).style(bold)),
        area,
    );
}

fn draw_requests(frame: &mut Frame<'_>, area: Rect, rows: &[RequestRow<'_>]) {
    let head = Row::new([
        "SECONDS", "METHOD", "PATH", "GROUP", "WORKER", "THREAD", "DOES",
    ]);
    let lines = rows.iter().map(|row| {
        Row::new([
            format!("{:.1}", row.request.for_us as f64 / 1e6),
            escaped(row.request.method.as_bytes()),
            escaped(row.request.path.as_bytes()),
            escaped(row.group.as_bytes()),
            row.worker.to_string(),
            row.request.thread.to_string(),
            does(row.request.activity).to_owned(),
        ])
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Min(16),
        Constraint::Max(16),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(12),
    ];
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Table::new(lines, widths).header(head.style(bold)), area);
}

const fn does(activity: Activity) -> &'static str {
    match activity {
        Activity::ReadingBody => "reading body",
        Activity::Writing => "writing",
        other => other.word(),
    }
}

fn or_none<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// Microseconds, in a unit that reads well.
fn duration(us: u64) -> String {
    match us {
        0..1000 => format!("{us}µs"),
        1000..1_000_000 => format!("{}ms", us / 1000),
        _ => format!("{}s", us / 1_000_000),
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_485_760 => format!("{}K", bytes >> 10),
        10_485_760..10_737_418_240 => format!("{}M", bytes >> 20),
        _ => format!("{}G", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use wsgid_protocol::in_flight::RequestInFlight;
    use wsgid_protocol::status::{
        GroupState, GroupStatus, PoolStatus, Status, WorkerPhase, WorkerStatus,
    };

    use super::*;

    fn view() -> View {
        let request = RequestInFlight {
            thread: 3,
            method: "GET".to_owned(),
            path: "/slow\u{1b}[2J/report".to_owned(),
            for_us: 40_200_000,
            activity: Activity::ReadingBody,
            ..RequestInFlight::default()
        };
        let worker = WorkerStatus {
            pid: 4802,
            state: WorkerPhase::Ready,
            answers: true,
            in_flight: 1,
            queued: 2,
            running: vec![request],
            ..WorkerStatus::default()
        };
        let running = |number: u32| GroupStatus {
            name: format!("site{number}"),
            state: GroupState::Running,
            threads: 5,
            pools: vec![PoolStatus {
                workers: vec![worker.clone()],
                ..PoolStatus::default()
            }],
            ..GroupStatus::default()
        };
        let broken = GroupStatus {
            name: "wiki".to_owned(),
            state: GroupState::Failed,
            ..GroupStatus::default()
        };
        let mut view = View::default();
        let groups = (0..40).map(running).chain([broken]).collect();
        let status = Status {
            version: "0.1.0".to_owned(),
            pid: 1,
            groups,
            ..Status::default()
        };
        view.groups.note(status, Instant::now());
        view
    }

    fn lines(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        cells
            .chunks(width.into())
            .map(|line| line.concat().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn all_that_matters_fits_into_80_by_24() {
        let lines = lines(&view(), 80, 24);
        assert_eq!(lines[0], "wsgid 0.1.0 (pid 1), up 0 s");
        assert_eq!(
            lines[1],
            "41 groups, 1 with problems, 40 in flight, 80 waiting; sorted by BUSY"
        );
        assert!(
            lines[2].starts_with("GROUP") && lines[2].ends_with("CPU"),
            "{lines:#?}"
        );
        assert!(
            lines[3].starts_with("wiki") && lines[3].contains("failed"),
            "{lines:#?}"
        );
        assert!(
            lines[4].starts_with("site0") && lines[4].contains("1/5"),
            "{lines:#?}"
        );
        let at = lines
            .iter()
            .position(|line| line.starts_with("SECONDS"))
            .unwrap();
        assert!((10..16).contains(&at), "each has its half: {lines:#?}");
        let request = &lines[at + 1];
        for part in ["40.2", "GET", "/slow\\x1b[2J/rep", "4802", "reading body"] {
            assert!(request.contains(part), "{part}: {request}");
        }
        assert_eq!(lines[23], KEYS);
    }

    #[test]
    fn keys_change_what_is_shown() {
        let mut view = view();
        view.pressed(Key::Char('s'));
        view.pressed(Key::Char('r'));
        let order = &lines(&view, 80, 24)[1];
        assert!(order.ends_with("sorted by WAIT, reversed"), "{order}");
        view.pressed(Key::Down);
        let of = |view: &View| {
            let lines = lines(view, 80, 24);
            lines.iter().filter(|line| line.contains("4802")).count()
        };
        assert_eq!(of(&view), 0, "wiki has no request");
        view.pressed(Key::Down);
        assert_eq!(of(&view), 1);
        for _ in 0..60 {
            view.pressed(Key::Down);
        }
        assert!(
            lines(&view, 80, 24)
                .iter()
                .any(|line| line.starts_with("site9 "))
        );
        view.pressed(Key::Esc);
        assert!(of(&view) > 5);
        view.pressed(Key::Up);
        assert!(of(&view) > 5, "above the first one are all");
    }

    #[test]
    fn no_size_of_a_terminal_is_too_small() {
        for (width, height) in [(1, 1), (5, 3), (20, 5), (300, 2), (80, 6)] {
            lines(&view(), width, height);
            lines(&View::default(), width, height);
        }
    }

    #[test]
    fn units_read_well() {
        assert_eq!(
            duration(999) + &duration(1_500) + &duration(2_000_000),
            "999µs1ms2s"
        );
        assert_eq!(time(119) + &time(7199) + &time(7200), "119 s119 min2 h");
        assert_eq!(
            bytes(2048) + &bytes(64 << 20) + &bytes(20 << 30),
            "2K64M20G"
        );
    }
}
