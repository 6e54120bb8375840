//! A search for two bytes side by side, fast enough for every byte of every message.

/// How many pairs are looked at before the scan asks whether one matched: few enough to find it cheaply then, enough
/// for the compiler to look at many at once.
const BLOCK_PAIRS: usize = 128;

/// The index of the first of two neighbouring bytes that match. `matches` should not branch.
pub(super) fn first_pair(bytes: &[u8], matches: impl Fn(u8, u8) -> bool) -> Option<usize> {
    let pairs = bytes.len().saturating_sub(1);
    for start in (0..pairs).step_by(BLOCK_PAIRS) {
        let end = (start + BLOCK_PAIRS).min(pairs);
        let (firsts, seconds) = (&bytes[start..end], &bytes[start + 1..=end]);
        let both = || firsts.iter().zip(seconds);
        if both().fold(false, |any, (&first, &second)| any | matches(first, second)) {
            return both().position(|(&first, &second)| matches(first, second)).map(|index| start + index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_wherever_it_is() {
        let matches = |first, second| first == b'\n' && second == b'.';
        for size in [0, 1, 2, 127, 128, 129, 130, 300] {
            let mut bytes = vec![b'x'; size];
            assert_eq!(first_pair(&bytes, matches), None);
            for index in (0..size.saturating_sub(1)).rev() {
                bytes[index] = b'\n';
                bytes[index + 1] = b'.';
                assert_eq!(first_pair(&bytes, matches), Some(index), "{index} of {size}");
            }
        }
    }
}
