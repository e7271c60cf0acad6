// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configurations broken at random: each is refused in a sentence or becomes a plan that can be
//! described, and nothing panics. The same ones in every run.

use rfs::config::oci;
use rfs::plan::Plan;

const WHOLE: &[&[u8]] = &[
    include_bytes!("../c-tests/data/docker.json"),
    include_bytes!("../c-tests/data/podman.json"),
    include_bytes!("../examples/demo/config.json"),
];
const ROUNDS: usize = 20_000;
/// What a mutation puts in: values of other types, paths that climb, options in wrong places.
const PIECES: &[&str] = &[
    "null",
    "-1",
    "1e99",
    "4294967296",
    "\"\"",
    "\"\\u0000\"",
    "[]",
    "{}",
    "\"/..\"",
    "\"../../x\"",
    "\"bind\"",
    "\"idmap\"",
    "\"remount\"",
    "\"tmpcopyup\"",
    "\"/proc/sys\"",
    "\"=\"",
    "\"z\"",
    ",",
    "]",
    "}",
    "\\",
];

/// Numerical Recipes' linear congruential generator: what is wanted is only that it is always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn mutate(json: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(json.len());
    match random.below(4) {
        0 => json[at] = random.below(256) as u8,
        1 => drop(json.drain(at..(at + 1 + random.below(40)).min(json.len()))),
        2 => {
            let piece = PIECES[random.below(PIECES.len())].bytes();
            json.splice(at..at, piece);
        }
        // A whole value in place of another, which is what still parses.
        _ => {
            let is_start = |&i: &usize| json[i] == b':' || json[i] == b'[';
            let Some(start) = (at..json.len()).find(is_start) else {
                return;
            };
            let end = (start + 1..json.len()).find(|&i| matches!(json[i], b',' | b']' | b'}'));
            let piece = PIECES[random.below(PIECES.len())].bytes();
            json.splice(start + 1..end.unwrap_or(json.len()), piece);
        }
    }
}

#[test]
fn nothing_panics() {
    let mut random = Random(1);
    let (mut refused, mut planned) = (0, 0);
    for round in 0..ROUNDS {
        let mut json = WHOLE[round % WHOLE.len()].to_vec();
        for _ in 0..=random.below(3) {
            mutate(&mut json, &mut random);
        }
        match oci::parse(&json, b"/bundle").and_then(|config| Plan::new(&config)) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Ok(plan) => {
                plan.describe(&mut std::io::sink()).unwrap();
                planned += 1;
            }
        }
    }
    // Both ways were really taken.
    assert!(
        refused > ROUNDS / 10 && planned > ROUNDS / 100,
        "{refused} {planned}"
    );
}
