//! `CONTRIBUTING.md` names every file of `src` and every variable, so that neither list gets old.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files below a folder of the repository.
fn files(folder: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    files
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names of the variables in a text, without their common prefix.
fn variables(text: &str) -> BTreeSet<String> {
    let part_of_name = |c: &char| c.is_ascii_uppercase() || *c == '_';
    let names = text.split("KERB_STREAM_").skip(1);
    let names = names.map(|rest| rest.chars().take_while(part_of_name).collect::<String>());
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn the_map_has_every_room() {
    let text = read("CONTRIBUTING.md");
    let map = text.split("\n## ").find(|part| part.starts_with("The map")).unwrap();
    let mut rooms = BTreeSet::new();
    for file in files("src") {
        let mut parts = file.iter().skip(1).map(|part| part.to_str().unwrap());
        let first = parts.next().unwrap();
        let is_folder = parts.next().is_some();
        rooms.insert(if is_folder { format!("`{first}/`") } else { format!("`{first}`") });
    }
    rooms.remove("`tests.rs`");
    let listed: Vec<_> = map.lines().filter(|line| line.starts_with("| `")).collect();
    let listed: String = listed.iter().map(|row| row.split('|').nth(1).unwrap()).collect();
    let missing: Vec<_> = rooms.iter().filter(|room| !listed.contains(*room)).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md lacks {missing:?}");
    assert_eq!(listed.matches('`').count(), 2 * rooms.len(), "CONTRIBUTING.md has more: {listed}");
}

#[test]
fn every_variable_is_explained() {
    let folders = ["src", "tests", "examples", "benches", ".ci"];
    let used = folders.into_iter().flat_map(files).map(read);
    let used: BTreeSet<_> = used.flat_map(|text| variables(&text)).collect();
    assert!(used.contains("SHARED") && used.contains("WRITE"), "{used:?}");
    assert_eq!(variables(&read("CONTRIBUTING.md")), used);
}
