//! `estafeta cluster status`: a picture of the cluster as one node sees it; with `--watch` one that lives, like `top`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use comfy_table::{Cell, CellAlignment, Color};
use crossterm::style::Stylize;
use crossterm::{cursor, execute, terminal};
use estafeta_cluster::membership::Standing;
use estafeta_core::Failure;
use estafeta_core::administration::Administration;
use serde_json::{Value, json};

use crate::administration::SocketClient;
use crate::commands::{socket_argument, table};
use crate::operate::{Event, NodeRow, Report, RoleRow, STATUS};

/// How often `--watch` asks.
const PERIOD: Duration = Duration::from_secs(1);

/// The command.
pub fn command() -> Command {
    let watch = Arg::new("watch")
        .long("watch")
        .short('w')
        .action(ArgAction::SetTrue)
        .conflicts_with("json")
        .help("Keep it live, until q is pressed");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, for scripts");
    let events = Arg::new("events")
        .long("events")
        .value_name("COUNT")
        .value_parser(value_parser!(u16).range(0..=200))
        .default_value("10")
        .help("How many of the last changes to show");
    Command::new("status")
        .about("Show every node, its roles and what changed lately, as seen from a running node")
        .args([watch, json, events, socket_argument()])
}

/// Carries it out.
pub fn run(arguments: &ArgMatches, socket: PathBuf) -> anyhow::Result<()> {
    let events = arguments.get_one::<u16>("events").copied().unwrap_or_default();
    let client = SocketClient(socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ask = || runtime.block_on(client.perform(STATUS, json!({ "events": events })));
    if arguments.get_flag("json") {
        table::print_json(&ask()?);
        return Ok(());
    }
    if !arguments.get_flag("watch") {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        table::say(&picture(&read(ask()?)?, colour));
        return Ok(());
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(crate::exit::Exit::error(
            crate::exit::Code::Usage,
            "--watch is for a terminal: leave it out, or use --json",
        ));
    }
    // What cannot be asked at all is an error before the screen is taken.
    let first = ask();
    if let Err(failure) = first {
        return Err(failure.into());
    }
    watch(ask)
}

fn read(answer: Value) -> Result<Report, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure::internal(format_args!("an answer that is none: {error}")))
}

/// The terminal while it is ours; as it was when this is dropped.
struct Screen;

impl Screen {
    fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        // From here on the drop mends what was done.
        let screen = Self;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Draws over what is there; what does not fit is left out, and a line that is too long goes on behind the edge.
    fn draw(&self, text: &str) -> io::Result<()> {
        let (_, height) = terminal::size()?;
        let mut frame = String::from("\x1b[H\x1b[?7l");
        for line in text.lines().take(usize::from(height.saturating_sub(1))) {
            frame.push_str(line);
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        let mut out = io::stdout();
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whatever fails here, there is nothing better left to do.
        let _ = io::stdout().write_all(b"\x1b[?7h");
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

fn watch(ask: impl Fn() -> Result<Value, Failure>) -> anyhow::Result<()> {
    let screen = Screen::take()?;
    let (quit, pressed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // q, Escape, or Ctrl-C, which raw mode hands through as a letter; the end of input ends it too.
        let wanted = |key: &io::Result<u8>| matches!(key, Ok(b'q' | b'Q' | 0x1b | 0x03) | Err(_));
        let _ = io::stdin().lock().bytes().find(wanted);
        let _ = quit.send(());
    });
    let mut last = None;
    loop {
        let text = match ask().and_then(read) {
            Ok(report) => {
                let text = picture(&report, std::env::var_os("NO_COLOR").is_none());
                last.insert(text).clone()
            }
            Err(failure) => format!("no answer now: {failure}\n\n{}", last.clone().unwrap_or_default()),
        };
        screen.draw(&format!("{text}\n\nq quits"))?;
        if pressed.recv_timeout(PERIOD) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            return Ok(());
        }
    }
}

/// The report for people.
fn picture(report: &Report, colour: bool) -> String {
    let mut picture = summary(report, colour);
    let mut table = table::plain_table();
    if colour {
        // In --watch standard output is a terminal anyway; in a test nothing is.
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(["node", "role", "standing", "since", "load", "heard", "site", "version", "address", "why"]);
    for node in &report.nodes {
        for (index, (role, row)) in node.roles.iter().enumerate() {
            let heard = if node.name == report.seen_from { "here".into() } else { ago_ms(node.heard_ms) };
            let first = |text: String| if index == 0 { text } else { String::new() };
            let since = row.since_ms.map(|since| span(report.at_ms.saturating_sub(since) / 1000)).unwrap_or_default();
            let standing = Cell::new(row.standing.as_str());
            table.add_row([
                Cell::new(first(node.name.to_string())),
                Cell::new(role),
                if colour { standing.fg(colour_of(row.standing)) } else { standing },
                Cell::new(since).set_alignment(CellAlignment::Right),
                Cell::new(first(format!("{}%", node.load))).set_alignment(CellAlignment::Right),
                Cell::new(first(heard)).set_alignment(CellAlignment::Right),
                Cell::new(first(node.site.as_ref().map(ToString::to_string).unwrap_or_default())),
                Cell::new(first(node.version.clone())),
                Cell::new(first(node.address.map(|address| address.to_string()).unwrap_or_default())),
                Cell::new(&row.why),
            ]);
        }
    }
    for line in table.lines() {
        let _ = write!(picture, "\n{}", line.trim_end());
    }
    if !report.events.is_empty() {
        let _ = write!(picture, "\n\nlast changes, the newest first:");
        for event in &report.events {
            let _ = write!(picture, "\n{}", sentence(event, report.at_ms));
        }
    }
    picture
}

/// The cluster in one line.
fn summary(report: &Report, colour: bool) -> String {
    let is = |node: &&NodeRow, standing| node.roles.values().all(|role: &RoleRow| role.standing == standing);
    let count = |standing| report.nodes.iter().filter(|node| is(node, standing)).count();
    let (all, ready, draining) = (report.nodes.len(), count(Standing::Ready), count(Standing::Draining));
    let mut line = format!("{ready} of {all} nodes ready");
    if draining > 0 {
        let _ = write!(line, ", {draining} draining");
    }
    let styled = if ready + draining == all { line.green() } else { line.red() };
    let line = if colour { styled.bold().to_string() } else { styled.content().clone() };
    format!("{line}, as {} sees it\n", report.seen_from)
}

fn colour_of(standing: Standing) -> Color {
    match standing {
        Standing::Ready => Color::Green,
        Standing::Draining => Color::Yellow,
        Standing::NotReady | Standing::Unheard | Standing::Removed => Color::Red,
    }
}

/// A change in a line: when, who, how, why, and what names did about it.
fn sentence(event: &Event, now_ms: u64) -> String {
    let ago = span(now_ms.saturating_sub(event.at_ms) / 1000);
    let role = event.role.as_ref().map(|role| format!(" {role}")).unwrap_or_default();
    let mut line = format!("{ago:>7} ago  {}{role}: {} → {}", event.node, event.from.as_str(), event.to.as_str());
    if !event.why.is_empty() {
        let _ = write!(line, ": {}", event.why);
    }
    for effect in &event.effects {
        let _ = write!(line, "; {effect}");
    }
    line
}

fn ago_ms(heard_ms: Option<u64>) -> String {
    match heard_ms {
        None => "never".into(),
        Some(ms) if ms < 10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        Some(ms) => span(ms / 1000),
    }
}

/// A span of time in its two largest units: `3 s`, `4m05`, `2h10`, `3d04`.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}m{:02}", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use estafeta_core::RoleName;

    use super::*;

    fn node(name: &str, roles: &[(RoleName, Standing, &str)], heard_ms: Option<u64>) -> NodeRow {
        let row = |standing: &Standing, why: &&str| RoleRow {
            standing: *standing,
            why: (*why).to_owned(),
            since_ms: Some(1_000_000),
        };
        NodeRow {
            name: name.parse().unwrap(),
            roles: roles
                .iter()
                .map(|(role, standing, why)| (role.clone(), row(standing, why)))
                .collect::<BTreeMap<_, _>>(),
            draining: false,
            address: Some("192.0.2.7".parse().unwrap()),
            site: Some("north".parse().unwrap()),
            version: "0.1.0".into(),
            load: 7,
            heard_ms,
        }
    }

    fn report() -> Report {
        let unheard = "not heard of for 3 s";
        Report {
            seen_from: "dns1".parse().unwrap(),
            at_ms: 1_065_000,
            nodes: vec![
                node("access1", &[(RoleName::ACCESS, Standing::Unheard, unheard)], Some(3100)),
                node(
                    "all1",
                    &[(RoleName::EDGE, Standing::Ready, ""), (RoleName::FILTER, Standing::Draining, "")],
                    None,
                ),
                node("dns1", &[(RoleName::DNS, Standing::Ready, "")], None),
            ],
            events: vec![Event {
                at_ms: 1_000_000,
                node: "access1".parse().unwrap(),
                role: Some(RoleName::ACCESS),
                from: Standing::Ready,
                to: Standing::Unheard,
                why: unheard.into(),
                effects: vec!["imap names access2 only now".into()],
            }],
        }
    }

    #[test]
    fn the_picture() {
        let expected = "\
1 of 3 nodes ready, as dns1 sees it

 node     role    standing  since  load  heard  site   version  address    why
 access1  access  unheard    1m05    7%  3.1 s  north  0.1.0    192.0.2.7  not heard of for 3 s
 all1     edge    ready      1m05    7%  never  north  0.1.0    192.0.2.7
          filter  draining   1m05
 dns1     dns     ready      1m05    7%   here  north  0.1.0    192.0.2.7

last changes, the newest first:
   1m05 ago  access1 access: ready → unheard: not heard of for 3 s; imap names access2 only now";
        let shown = picture(&report(), false);
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn colours_say_how_bad_it_is() {
        let shown = picture(&report(), true);
        assert!(shown.contains("\x1b[38;5;9m unheard") && shown.contains("\x1b[38;5;10m ready"), "{shown:?}");
        assert!(!picture(&report(), false).contains('\x1b'));
    }

    #[test]
    fn spans() {
        let shown = [0, 59, 60, 3599, 3600, 86_399, 86_400, 3 * 86_400 + 4 * 3600].map(span);
        assert_eq!(shown, ["0 s", "59 s", "1m00", "59m59", "1h00", "23h59", "1d00", "3d04"]);
        assert_eq!([None, Some(400), Some(12_000)].map(ago_ms), ["never", "0.4 s", "12 s"]);
    }
}
