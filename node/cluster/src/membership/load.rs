//! How busy this machine is.

use std::fs;

/// The load of the last minute in hundredths of what the processors can do: above 100 work waits. None where the machine
/// does not tell.
pub fn now() -> Option<u16> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    parse(&text, processors)
}

fn parse(text: &str, processors: usize) -> Option<u16> {
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    // In steps of five: a description is signed and told to everyone only when something in it has changed.
    let hundredths = (load * 100.0 / processors.max(1) as f64 / 5.0).round() * 5.0;
    Some(hundredths.clamp(0.0, 60_000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_shared_by_the_processors() {
        assert_eq!(parse("1.52 0.80 0.40 1/100 4242\n", 2), Some(75));
        assert_eq!(parse("99999 1 1", 1), Some(60_000));
        assert_eq!(parse("", 2), None);
        assert_eq!(parse("x", 2), None);
    }
}
