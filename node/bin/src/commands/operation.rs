//! The commands that are operations of the role table: made from its rows, asked of a node through its Unix socket.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use estafeta_core::RoleName;
use estafeta_core::administration::{Administration, CONTINUE, Field, Kind, Operation, Placing, WRONG};
use estafeta_net::role::Role;
use estafeta_net::section::nearest;
use serde_json::{Map, Value};

use super::table;
use crate::administration::{SocketClient, Table};
use crate::config::NodeConfig;
use crate::exit::{Code, Exit};

/// Adds a command for each operation: `account add` becomes `estafeta account add`.
pub fn add_commands(command: Command, operations: &Table) -> Command {
    operations.iter().filter(|row| !row.hidden).fold(command, |command, row| {
        let words: Vec<&'static str> = row.name.split(' ').collect();
        add_command(command, &words, row)
    })
}

/// Adds the command of one operation below the groups that its words name, which are made when they are not there.
fn add_command(command: Command, words: &[&'static str], row: &Operation) -> Command {
    match words {
        [] => command,
        [verb] => command.subcommand(subcommand(verb, row)),
        [group, rest @ ..] => {
            let known = command.find_subcommand(group).is_some();
            let command = if known { command } else { command.subcommand(group_command(group)) };
            command.mut_subcommand(group, |group| add_command(group, rest, row))
        }
    }
}

fn group_command(group: &'static str) -> Command {
    Command::new(group)
        .about(format!("Operations on {}, asked of a running node", plural(group)))
        .subcommand_required(true)
        .arg_required_else_help(true)
}

/// Several of what a group of commands is about, which may be called so already.
fn plural(group: &str) -> String {
    match group {
        "dns" | "settings" => group.to_owned(),
        _ if group.ends_with(['s', 'x']) => format!("{group}es"),
        _ => format!("{group}s"),
    }
}

fn subcommand(verb: &'static str, row: &Operation) -> Command {
    let socket = Arg::new("socket")
        .long("socket")
        .value_name("PATH")
        .env("ESTAFETA_SOCKET")
        .value_parser(value_parser!(PathBuf))
        .help("The node's administration socket [default: as its configuration has it]");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, for scripts");
    let yes = Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask first");
    let fields = row
        .fields
        .iter()
        .filter(|field| !(field.kind == Kind::Secret && field.placing == Placing::Required))
        // Programs alone give it.
        .filter(|field| field.kind != Kind::Object)
        .map(argument);
    Command::new(verb).about(row.about).args(fields).args(row.confirm.map(|_| yes)).args([json, socket])
}

fn argument(field: &Field) -> Arg {
    let argument = Arg::new(field.name).help(field.about).required(field.placing != Placing::Option);
    let argument = match field.kind {
        Kind::Texts => argument.action(ArgAction::Append).num_args(1..),
        Kind::Roles => argument.action(ArgAction::Append).value_delimiter(','),
        Kind::Flag | Kind::Secret => argument.action(ArgAction::SetTrue).required(false),
        Kind::Integer => argument.value_parser(value_parser!(i64)),
        Kind::Size => argument.value_parser(size),
        Kind::Text | Kind::Object => argument,
    };
    match field.placing {
        Placing::Positional => argument.value_name(field.name.to_uppercase()),
        _ => argument.long(field.name.replace('_', "-")).value_name(field.name.to_uppercase()),
    }
}

/// `500M`, `2G`, `none` into bytes; none for no limit.
fn size(text: &str) -> Result<Option<u64>, String> {
    let wrong = || format!("{text:?} is not a size: write it like 500M, 2G or none");
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).map(Some).ok_or_else(wrong)
}

/// Carries the operation of the command line out.
pub fn run(roles: &[Role], arguments: &ArgMatches, file: &Path) -> anyhow::Result<()> {
    let usage = || Exit::error(Code::Usage, "no such command: see estafeta --help");
    let (words, arguments) = innermost(arguments);
    let operations = Table::of(roles);
    let row = operations.get(&words.join(" ")).ok_or_else(usage)?;
    let socket = match arguments.get_one::<PathBuf>("socket") {
        Some(socket) => socket.clone(),
        None => NodeConfig::load(file, roles)?.socket,
    };
    if let Some(question) = row.confirm
        && !arguments.get_flag("yes")
    {
        confirm(question, row, arguments)?;
    }
    let input = input(roles, row, arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(to_the_end(&SocketClient(socket), row.name, input))?;
    if arguments.get_flag("json") {
        table::print_json(&answer)
    } else {
        table::print(&answer, row.columns)
    }
    match findings(&answer) {
        0 => Ok(()),
        1 => Err(Exit::error(Code::Findings, "one of these has to be mended")),
        many => Err(Exit::error(Code::Findings, format_args!("{many} of these have to be mended"))),
    }
}

/// Asks, and asks again while the answer is not the last. How far it is goes to standard error.
async fn to_the_end(node: &SocketClient, operation: &str, mut input: Value) -> anyhow::Result<Value> {
    let mut told = false;
    loop {
        let answer = node.perform(operation, input).await?;
        let mut terminal = io::stderr();
        let Some(next) = answer.get(CONTINUE) else {
            if told {
                writeln!(terminal)?;
            }
            return Ok(answer);
        };
        // One line that is written over, where somebody looks at it; else a line each time.
        let end = if terminal.is_terminal() { "\r" } else { "\n" };
        let found = answer["found"].as_u64().filter(|found| *found > 0);
        let found = found.map(|found| format!(", {found} found")).unwrap_or_default();
        write!(terminal, "{} of {}{found}{end}", answer["done"], answer["of"])?;
        terminal.flush()?;
        told = terminal.is_terminal();
        input = next.clone();
    }
}

/// How many objects of an answer say that they are wrong.
fn findings(answer: &Value) -> usize {
    let is_wrong = |object: &&Value| object.get(WRONG) == Some(&Value::Bool(true));
    answer.as_array().map_or(0, |objects| objects.iter().filter(is_wrong).count())
}

/// The words of a command below its first, and the arguments of the last.
fn innermost(mut arguments: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let mut words = Vec::new();
    while let Some((word, inner)) = arguments.subcommand() {
        words.push(word);
        arguments = inner;
    }
    (words, arguments)
}

fn confirm(question: &str, row: &Operation, arguments: &ArgMatches) -> anyhow::Result<()> {
    let mut question = question.to_owned();
    for field in row.fields.iter().filter(|field| field.kind == Kind::Text) {
        if let Some(value) = arguments.get_one::<String>(field.name) {
            question = question.replace(&format!("{{{}}}", field.name), value);
        }
    }
    if !io::stdin().is_terminal() {
        return Err(Exit::error(Code::Usage, format_args!("{question} Nobody is there to answer: say --yes")));
    }
    let mut terminal = io::stderr();
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Exit::error(Code::Usage, "nothing was done"))
}

fn input(roles: &[Role], row: &Operation, arguments: &ArgMatches) -> anyhow::Result<Value> {
    let mut input = Map::new();
    for field in row.fields {
        let value = match field.kind {
            Kind::Text => arguments.get_one::<String>(field.name).map(|text| text.as_str().into()),
            Kind::Texts => {
                arguments.get_many::<String>(field.name).map(|texts| texts.cloned().collect::<Vec<_>>().into())
            }
            Kind::Roles => match arguments.get_many::<String>(field.name) {
                Some(names) => Some(serde_json::to_value(known_roles(roles, names)?)?),
                None => None,
            },
            Kind::Object => None,
            Kind::Integer => arguments.get_one::<i64>(field.name).map(|number| (*number).into()),
            Kind::Size => arguments.get_one::<Option<u64>>(field.name).map(|bytes| (*bytes).into()),
            Kind::Flag => arguments.get_flag(field.name).then_some(true.into()),
            Kind::Secret if field.placing == Placing::Required || arguments.get_flag(field.name) => {
                Some(secret(field)?.into())
            }
            Kind::Secret => None,
        };
        if let Some(value) = value {
            input.insert(field.name.to_owned(), value);
        }
    }
    Ok(Value::Object(input))
}

/// The roles of these names; the nearest one is named for one that is unknown.
pub(super) fn known_roles<'a>(
    roles: &[Role],
    names: impl Iterator<Item = &'a String>,
) -> anyhow::Result<Vec<RoleName>> {
    let known = || roles.iter().map(|role| role.name.as_str());
    let role = |name: &String| {
        let role = roles.iter().find(|role| role.name.as_str() == name);
        role.map(|role| role.name.clone()).ok_or_else(|| {
            let hint = nearest(name, known()).map(|role| format!("did you mean {role:?}? ")).unwrap_or_default();
            let known = known().collect::<Vec<_>>().join(", ");
            Exit::error(Code::Usage, format_args!("unknown role {name:?}: {hint}the roles are {known}"))
        })
    };
    names.map(role).collect()
}

/// A secret from the terminal, twice because it is not seen; or the first line of standard input.
fn secret(field: &Field) -> anyhow::Result<String> {
    let name = field.name.replace('_', " ");
    if io::stdin().is_terminal() {
        let first = rpassword::prompt_password(format!("{name}: "))?;
        let second = rpassword::prompt_password(format!("{name} again: "))?;
        return if first == second {
            Ok(first)
        } else {
            Err(Exit::error(Code::DataError, "the two are not the same: nothing was done"))
        };
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(Exit::error(
            Code::NoInput,
            format_args!("the {name} is expected as the first line of standard input"),
        ));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{plural, size};

    #[test]
    fn several_are_called_as_in_english() {
        let words = ["mailbox", "alias", "account", "dns", "settings", "queue"].map(plural);
        assert_eq!(words, ["mailboxes", "aliases", "accounts", "dns", "settings", "queues"]);
    }

    #[test]
    fn sizes() {
        assert_eq!(size("12"), Ok(Some(12)));
        assert_eq!(size("500M"), Ok(Some(500 << 20)));
        assert_eq!(size("2GiB"), Ok(Some(2 << 30)));
        assert_eq!(size("none"), Ok(None));
        for wrong in ["", "M", "-1", "1X", "99999999999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
