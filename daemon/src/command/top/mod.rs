//! `wsgid top`: process groups and their requests on the terminal, again and again, until
//! somebody has seen enough. Here is what happens in which order: keys, answers of the
//! supervisor and signals come over one channel, and after each the screen is drawn.
//! What is shown is in `groups`, how in `view`.
#![expect(clippy::print_stderr, reason = "this is the command line")]

mod groups;
mod view;

use std::io::{self, IsTerminal, stdin, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use ratatui::Terminal;
use ratatui::backend::TermionBackend;
use ratatui::termion::event::Key;
use ratatui::termion::input::TermRead;
use ratatui::termion::raw::IntoRawMode;
use ratatui::termion::screen::IntoAlternateScreen;
use wsgid_protocol::control::Command;
use wsgid_protocol::status::Status;

use crate::command::client::{self, Socket};
use crate::exit_code;
use view::View;

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    #[command(flatten)]
    socket: Socket,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("from 0.1 to 3600".to_owned())
    }
}

/// What the loop waits for.
enum TopEvent {
    Key(Key),
    /// Nobody types any more.
    NoKeys,
    Answer(Result<Box<Status>, String>),
    /// The terminal has another size.
    Resized,
    /// Somebody ends this process.
    Ends,
}

pub(crate) fn run(args: &Top) -> ExitCode {
    if !(stdin().is_terminal() && stdout().is_terminal()) {
        eprintln!("wsgid: `top` needs a terminal; say `wsgid status` or `wsgid requests` instead");
        return ExitCode::from(exit_code::USAGE);
    }
    // Nobody has to look at an empty screen to learn that there is no supervisor.
    let first = match ask(&args.socket) {
        Ok(status) => status,
        Err(error) => return error.report(),
    };
    let mut view = View::default();
    view.groups.note(first, Instant::now());
    match shown(args, &mut view) {
        Ok(()) => ExitCode::from(exit_code::OK),
        Err(error) => {
            eprintln!("wsgid: the terminal cannot be used: {error}");
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// The terminal is as it was before when this has returned.
fn shown(args: &Top, view: &mut View) -> io::Result<()> {
    let events = listen(args)?;
    let screen = stdout().into_raw_mode()?.into_alternate_screen()?;
    let mut terminal = Terminal::new(TermionBackend::new(screen))?;
    loop {
        terminal.draw(|frame| view::draw(frame, view))?;
        match events.recv() {
            Ok(TopEvent::Key(Key::Char('q' | 'Q') | Key::Ctrl('c' | 'd')))
            | Ok(TopEvent::NoKeys | TopEvent::Ends)
            | Err(_) => return Ok(()),
            Ok(TopEvent::Key(key)) => view.pressed(key),
            Ok(TopEvent::Answer(Ok(status))) => {
                view.problem = None;
                view.groups.note(*status, Instant::now());
            }
            Ok(TopEvent::Answer(Err(problem))) => view.problem = Some(problem),
            Ok(TopEvent::Resized) => {}
        }
    }
}

/// Starts what tells of each kind of event. These threads end with the process.
fn listen(args: &Top) -> io::Result<Receiver<TopEvent>> {
    let (sender, events) = channel();
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGWINCH,
    ] {
        signals.add(signal);
    }
    // First of all: threads have what was blocked when they began.
    signals.thread_block()?;
    let for_signals = sender.clone();
    thread::spawn(move || tell_signals(signals, &for_signals));
    let for_keys = sender.clone();
    thread::spawn(move || {
        let keys = stdin().keys().map_while(Result::ok);
        keys.map(TopEvent::Key)
            .chain([TopEvent::NoKeys])
            .try_for_each(|event| for_keys.send(event))
    });
    let (socket, interval) = (args.socket.clone(), args.interval);
    thread::spawn(move || {
        loop {
            thread::sleep(interval);
            let answer = ask(&socket).map(Box::new);
            let answer = TopEvent::Answer(answer.map_err(|error| error.to_string()));
            if sender.send(answer).is_err() {
                return;
            }
        }
    });
    Ok(events)
}

fn tell_signals(signals: SigSet, events: &Sender<TopEvent>) {
    while let Ok(signal) = signals.wait() {
        let event = if signal == Signal::SIGWINCH {
            TopEvent::Resized
        } else {
            TopEvent::Ends
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

fn ask(socket: &Socket) -> Result<Status, client::ClientError> {
    client::ask(socket, &Command::Status)
}
