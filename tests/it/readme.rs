//! Holds the two READMEs together: the Chinese one has the same code, names, picture and links as the
//! English one. The Rust blocks of the English one are compiled as doc tests.

use std::collections::BTreeSet;

use kerb_stream::{Environment, GenerationConfig, generate_stream};

const ENGLISH: &str = include_str!("../../README.md");
const CHINESE: &str = include_str!("../../README.zh-CN.md");

#[test]
fn both_readmes_have_the_same_code_blocks() {
    let blocks = Page::read(ENGLISH).blocks;
    assert_eq!(blocks, Page::read(CHINESE).blocks);
    let rust: Vec<_> = blocks.iter().filter(|block| block.starts_with("rust")).collect();
    assert_eq!((blocks.len(), rust.len()), (9, 6));
    for block in rust {
        assert!(!block.contains("print!(\"{}\", chunk") || block.contains("flush()?"), "{block}");
    }
}

#[test]
fn both_readmes_name_the_same_things_and_link_to_each_other() {
    let (english, chinese) = (Page::read(ENGLISH), Page::read(CHINESE));
    let differences: Vec<_> = english.names.symmetric_difference(&chinese.names).collect();
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(english.rows, chinese.rows);
    let mut links = english.links;
    assert!(links.remove("README.zh-CN.md") && links.insert("README.md"));
    assert_eq!(links, chinese.links);
}

#[test]
fn the_quoted_message_is_the_one_that_comes() {
    let config = GenerationConfig::new("deepsek-flash").environment(Environment::empty());
    let error = generate_stream("Hi", config).request().unwrap_err().to_string();
    assert!(Page::read(ENGLISH).names.contains(error.as_str()), "{error}");
}

/// The parts of a README that do not depend on its language.
#[derive(Default)]
struct Page<'a> {
    /// The code blocks with their info strings, in order.
    blocks: Vec<String>,
    /// The code spans. Their order depends on the language.
    names: BTreeSet<&'a str>,
    /// The targets of links and pictures.
    links: BTreeSet<&'a str>,
    /// The number of rows of all tables.
    rows: usize,
}

impl<'a> Page<'a> {
    fn read(text: &'a str) -> Self {
        let mut page = Self::default();
        // Every second part is a code block.
        for (part, text) in text.split("```").enumerate() {
            if part % 2 == 1 {
                // A checkout on Windows may have other line ends.
                page.blocks.push(text.replace('\r', ""));
                continue;
            }
            page.names.extend(text.split('`').skip(1).step_by(2));
            let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            page.links.extend(links.map(|(target, _)| target));
            page.rows += text.lines().filter(|line| line.starts_with('|')).count();
        }
        page
    }
}
