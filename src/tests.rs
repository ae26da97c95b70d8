//! Tests the structure of the crate: which file imports which, and which names belong to one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A file of `src` without its comments and test modules, and the files that it imports.
struct Room {
    code: String,
    imports: BTreeSet<String>,
}

/// Returns every file by its path below `src`, such as `http/pool`. A `mod.rs` has the path of its
/// folder.
fn rooms() -> BTreeMap<String, Room> {
    let mut code = BTreeMap::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut code);
    let names: BTreeSet<String> = code.keys().cloned().collect();
    let imports = |name: &str, code: &str| {
        let paths = code.split(|c: char| !(c.is_alphanumeric() || "_:{}, \n*".contains(c)));
        paths.flat_map(|text| imported(text, name, &names)).collect()
    };
    code.iter()
        .map(|(name, code)| {
            (name.clone(), Room { code: code.clone(), imports: imports(name, code) })
        })
        .collect()
}

fn collect(folder: &Path, prefix: &str, code: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{stem}/"), code);
        } else if stem != "tests" {
            let name = match stem.as_str() {
                "mod" => prefix.trim_end_matches('/').to_owned(),
                _ => format!("{prefix}{stem}"),
            };
            code.insert(name, without_tests(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Returns the code of a file, up to its test modules, which are at its end.
fn without_tests(text: &str) -> String {
    let mut lines = Vec::new();
    let mut rest = text.lines();
    while let Some(line) = rest.next() {
        let mut after = rest.clone().skip_while(|line| line.starts_with("#["));
        if line == "#[cfg(test)]" && after.next().is_some_and(|next| next.ends_with('{')) {
            break;
        }
        // `visitors` is test code, too, but a macro uses it outside of the test modules.
        if !line.trim_start().starts_with("//") && !line.contains("visitors") {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// Returns the files of this crate that the paths in a text lead to: `crate::http::Body` leads to
/// `http`, and `super::{json, wire::Raw}` leads to `json` and `wire`.
fn imported(text: &str, room: &str, rooms: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for child in rooms.iter().filter(|child| child.rsplit_once('/').is_some_and(|(p, _)| p == room))
    {
        let name = child.rsplit('/').next().unwrap();
        if text.contains(&format!("{name}::")) {
            found.push(child.clone());
        }
    }
    let parent = room.rsplit_once('/').map_or("", |(parent, _)| parent);
    for (start, root) in [("crate::", ""), ("super::", parent)] {
        for (at, _) in text.match_indices(start) {
            let (_, path) = text.split_at(at + start.len());
            let firsts = match path.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').collect(),
                None => vec![path],
            };
            for first in firsts {
                found.push(leads_to(first.trim(), root, rooms));
            }
        }
    }
    found.retain(|found| !found.is_empty() && found != room);
    found
}

/// Returns the deepest file that a path below `root` names, or else `root` itself.
fn leads_to(path: &str, root: &str, rooms: &BTreeSet<String>) -> String {
    let mut at = root.to_owned();
    for part in path.split("::") {
        let part = part.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap();
        let below = if at.is_empty() { part.to_owned() } else { format!("{at}/{part}") };
        if !rooms.contains(&below) {
            break;
        }
        at = below;
    }
    at
}

#[test]
fn no_file_imports_itself_through_others() {
    let rooms = rooms();
    assert!(rooms.len() > 40, "{:?}", rooms.keys());
    let mut done = BTreeSet::new();
    while done.len() < rooms.len() {
        let before = done.len();
        for (name, room) in &rooms {
            if room.imports.iter().all(|import| done.contains(import)) {
                done.insert(name.clone());
            }
        }
        if done.len() == before {
            let left = rooms.iter().filter(|(name, _)| !done.contains(*name));
            let left: Vec<_> = left
                .map(|(name, room)| {
                    format!("{name}: {:?}", room.imports.difference(&done).collect::<Vec<_>>())
                })
                .collect();
            panic!("these files import each other in a circle:\n{}", left.join("\n"));
        }
    }
}

#[test]
fn each_room_imports_only_what_lies_below_it() {
    for (name, room) in rooms() {
        let forbidden: &[&str] = match name.split('/').next().unwrap() {
            "provider" | "sse" | "terminal" | "environment" | "cancel" | "seconds"
            | "error_kind" => {
                &[""] // `names` is allowed, because it is a macro.
            }
            "chunk" | "activity" | "source" | "attachment" => {
                &["config", "decode", "error", "http", "message", "protocol", "request", "stream"]
            }
            "endpoint" => &["config", "error", "http", "protocol", "request", "stream"],
            "redact" => &["config", "error", "http", "protocol", "request", "stream"],
            "protocol" => &["decode", "environment", "http", "request", "retry", "stream"],
            "http" => &["decode", "message", "request", "retry", "stream"],
            "request" => &["decode", "stream"],
            _ => &[],
        };
        let wrong = |import: &&String| {
            let room = import.split('/').next().unwrap();
            forbidden.contains(&room) || (forbidden == [""] && room != "names")
        };
        let wrong: Vec<_> = room.imports.iter().filter(wrong).collect();
        let own = |import: &&&String| import.split('/').next() == name.split('/').next();
        assert!(wrong.iter().filter(|i| !own(i)).count() == 0, "{name} imports {wrong:?}");
    }
}

#[test]
fn some_names_belong_to_one_room() {
    for (word, room) in [
        ("ureq::", "http"),
        ("std::env", "environment"),
        ("\"://\"", "endpoint"),
        ("('?')", "endpoint"),
        ("(['?'", "endpoint"),
        ("catch_unwind", "http/tls"),
        ("thread::Builder", "http/dial"),
        ("thread::spawn", "none: it panics if the system has no thread left"),
    ] {
        let at_home = |name: &str| name == room || name.starts_with(&format!("{room}/"));
        let rooms = rooms();
        let strays = rooms.iter().filter(|(name, file)| file.code.contains(word) && !at_home(name));
        let strays: Vec<_> = strays.map(|(name, _)| name).collect();
        assert!(strays.is_empty(), "{word} stands in {strays:?}, and belongs to {room}");
    }
}
