// SPDX-License-Identifier: MIT OR Apache-2.0
//! The targets of fuzz/, without a fuzzer: their corpora as they are, and changed at random. The same changes in every
//! run, and as many as fit into RFS_FUZZ_SECONDS for each target, or a fixed number. An input that panics is printed
//! and kept; once mended, it goes into the corpus.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{env, fs, path::Path};

use targets::{TARGETS, Target};

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");
/// Whole config.json files that are elsewhere anyway.
const CONFIGS: [&str; 3] = [
    "../c-tests/data/docker.json",
    "../c-tests/data/podman.json",
    "../examples/demo/config.json",
];
const ROUNDS: usize = 2_000;
/// The longest input. Longer ones are slow and find nothing more.
const MAX: usize = 20_000;

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

    fn of<'a>(&mut self, all: &'a [Vec<u8>]) -> &'a [u8] {
        &all[self.below(all.len())]
    }
}

/// The input that is changed, and the source of the changes.
struct Material {
    corpus: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

fn mutate(input: &mut Vec<u8>, material: &Material, random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + 1 + random.below(40)).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] = random.below(256) as u8,
        1 => drop(input.drain(at.min(end)..end)),
        2 => drop(input.splice(at..at, random.of(&material.words).iter().copied())),
        3 => {
            let piece = input[at.min(end)..end].to_vec();
            let times = 1 + random.below(200);
            input.splice(at..at, piece.repeat(times));
        }
        // What another has from somewhere on.
        4 => {
            let other = random.of(&material.corpus);
            input.truncate(at);
            input.extend(&other[random.below(other.len() + 1)..]);
        }
        // A whole value or field in place of another, which is what still parses.
        _ => {
            let is_start = |&i: &usize| matches!(input[i], b':' | b'[' | b' ' | b',' | b'\n');
            let Some(start) = (at..input.len()).find(is_start) else {
                return;
            };
            let is_end = |&i: &usize| matches!(input[i], b',' | b']' | b'}' | b' ' | b'\n');
            let end = (start + 1..input.len()).find(is_end);
            let word = random.of(&material.words).iter().copied();
            input.splice(start + 1..end.unwrap_or(input.len()), word);
        }
    }
    input.truncate(MAX);
}

/// libFuzzer's dictionary: a word a line, in quotes, with \\, \" and \xNN in it.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(Path::new(FUZZ).join("words.dict")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('"'));
    lines
        .map(|line| {
            let mut rest = line[1..line.len() - 1].bytes();
            let mut word = Vec::new();
            while let Some(byte) = rest.next() {
                let escaped = (byte == b'\\').then(|| rest.next().unwrap());
                word.push(match escaped {
                    Some(b'x') => {
                        let digits = [rest.next().unwrap(), rest.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    Some(byte) => byte,
                    None => byte,
                });
            }
            word
        })
        .collect()
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(FUZZ).join("corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    if name == "config" {
        paths.extend(CONFIGS.map(|path| Path::new(FUZZ).join(path)));
    }
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn run(name: &str, target: Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|_| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{name}"));
        fs::write(&path, input).unwrap();
        panic!(
            "{name}: {} panics: {}",
            path.display(),
            input.escape_ascii()
        );
    })
}

fn fuzz(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|it| it.0 == name).unwrap();
    let seconds = env::var("RFS_FUZZ_SECONDS").map(|it| it.parse().unwrap());
    let material = Material {
        corpus: corpus(name),
        words: words(),
    };
    for input in &material.corpus {
        run(name, target, input);
    }
    let (mut random, start) = (Random(1), Instant::now());
    let (mut rounds, mut taken) = (0, 0);
    while match &seconds {
        Ok(seconds) => start.elapsed() < Duration::from_secs(*seconds),
        Err(_) => rounds < ROUNDS,
    } {
        let mut input = random.of(&material.corpus).to_vec();
        for _ in 0..=random.below(4) {
            mutate(&mut input, &material, &mut random);
        }
        taken += usize::from(run(name, target, &input));
        rounds += 1;
    }
    println!("\nfuzz: {name}: {rounds} inputs, {taken} of them taken");
    assert!(
        taken > rounds / 100 && taken < rounds,
        "the changes are of no use"
    );
}

#[test]
fn config() {
    fuzz("config");
}

#[test]
fn options() {
    fuzz("options");
}

#[test]
fn fstab() {
    fuzz("fstab");
}

#[test]
fn mountinfo() {
    fuzz("mountinfo");
}

#[test]
fn cgroup() {
    fuzz("cgroup");
}

#[test]
fn mountfd() {
    fuzz("mountfd");
}
