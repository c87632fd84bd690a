//! Resources as text for goldens: what `Debug` says, without what is unset, with what is packed unpacked.

use std::fmt::{Debug, Write};
use std::iter::Peekable;
use std::str::Chars;

use cofide_xds::envoy::envoy::config::cluster::v3::Cluster;
use cofide_xds::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use cofide_xds::envoy::envoy::config::listener::v3::Listener;
use cofide_xds::envoy::envoy::extensions::access_loggers::stream::v3::StdoutAccessLog;
use cofide_xds::envoy::envoy::extensions::filters::listener::{original_dst::v3::OriginalDst, tls_inspector::v3::TlsInspector};
use cofide_xds::envoy::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use cofide_xds::envoy::envoy::extensions::filters::udp::udp_proxy::v3::{Route, UdpProxyConfig};
use cofide_xds::envoy::envoy::extensions::transport_sockets::tls::v3::{DownstreamTlsContext, UpstreamTlsContext};
use prost::{Message, Name};

use super::Rendered;

/// All resources in the order in which they were rendered.
pub(super) fn text(rendered: &Rendered) -> String {
    let mut text = String::new();
    for (type_url, resource) in rendered {
        let kind = type_url.rsplit('.').next().unwrap();
        writeln!(text, "--- {kind} {}", resource.name()).unwrap();
        unpack(type_url, &resource.body().value).print(0, &mut text);
        text.push('\n');
    }
    text
}

fn unpack(type_url: &str, bytes: &[u8]) -> Tree {
    fn as_text<M: Message + Name + Default + Debug>(type_url: &str, bytes: &[u8]) -> Option<String> {
        (type_url == M::type_url()).then(|| format!("{:?}", M::decode(bytes).unwrap()))
    }
    let decoders = [
        as_text::<Cluster>,
        as_text::<ClusterLoadAssignment>,
        as_text::<Listener>,
        as_text::<OriginalDst>,
        as_text::<TlsInspector>,
        as_text::<TcpProxy>,
        as_text::<StdoutAccessLog>,
        as_text::<Route>,
        as_text::<UdpProxyConfig>,
        as_text::<DownstreamTlsContext>,
        as_text::<UpstreamTlsContext>,
    ];
    let text = decoders.iter().find_map(|decode| decode(type_url, bytes));
    parse(&mut text.unwrap_or_else(|| panic!("no decoder for {type_url}")).chars().peekable())
}

/// A value in Rust's `Debug` notation.
#[derive(Debug)]
enum Tree {
    Scalar(String),
    List(Vec<Tree>),
    Struct(Vec<(String, Tree)>),
}

fn parse(chars: &mut Peekable<Chars<'_>>) -> Tree {
    let tree = match chars.peek().copied() {
        Some('"') => Tree::Scalar(string(chars)),
        Some('[') => Tree::List(items(chars, '[', ']')),
        Some('{') => Tree::List(items(chars, '{', '}')),
        _ => named(chars),
    };
    skip_space(chars);
    tree
}

/// `Name`, `Name(value)`, `Name { field: value }` or a number.
fn named(chars: &mut Peekable<Chars<'_>>) -> Tree {
    let name = word(chars);
    skip_space(chars);
    match chars.peek() {
        Some('(') => match items(chars, '(', ')').pop().unwrap() {
            // The variant says how a name is matched.
            Tree::Scalar(text) if matches!(name.as_str(), "Prefix" | "Exact") => Tree::Scalar(format!("{name} {}", text.trim_matches('"'))),
            inner => inner,
        },
        Some('{') => {
            chars.next();
            let mut fields = Vec::new();
            loop {
                skip_space(chars);
                match chars.peek() {
                    Some('}') => break,
                    Some(',') => drop(chars.next()),
                    _ => {
                        let field = word(chars);
                        chars.next();
                        skip_space(chars);
                        fields.push((field, parse(chars)));
                    }
                }
            }
            chars.next();
            shorten(&name, fields)
        }
        _ => Tree::Scalar(name),
    }
}

/// Well-known types in their usual notation, and packed messages unpacked.
fn shorten(name: &str, mut fields: Vec<(String, Tree)>) -> Tree {
    match (name, fields.as_mut_slice()) {
        ("Any", [(_, Tree::Scalar(type_url)), (_, Tree::List(bytes))]) => {
            let bytes = bytes.iter().map(|byte| if let Tree::Scalar(byte) = byte { byte.parse().unwrap() } else { panic!("{byte:?}") });
            let content = unpack(type_url.trim_matches('"'), &bytes.collect::<Vec<u8>>());
            Tree::Struct(vec![("@type".into(), Tree::Scalar(type_url.clone())), ("@".into(), content)])
        }
        ("Duration", [(_, Tree::Scalar(seconds)), (_, Tree::Scalar(nanos))]) => Tree::Scalar(format!("{seconds}.{nanos:0>9} s")),
        ("UInt32Value" | "BoolValue", [(_, Tree::Scalar(value))]) => Tree::Scalar(format!("={value}")),
        _ => Tree::Struct(fields.into_iter().filter(|(_, value)| !value.is_unset()).collect()),
    }
}

fn items(chars: &mut Peekable<Chars<'_>>, open: char, close: char) -> Vec<Tree> {
    assert_eq!(chars.next(), Some(open));
    let mut items = Vec::new();
    loop {
        skip_space(chars);
        match chars.peek() {
            // The colon is that of a map: its keys and values take turns.
            Some(',' | ':') => drop(chars.next()),
            Some(&next) if next == close => break,
            _ => items.push(parse(chars)),
        }
    }
    chars.next();
    items
}

fn word(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || matches!(next, '_' | '#' | '.' | '-')) {
        word.push(next);
    }
    assert!(!word.is_empty(), "expected a word before {:?}", chars.clone().take(40).collect::<String>());
    word
}

fn string(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::from(chars.next().unwrap());
    while let Some(next) = chars.next() {
        text.push(next);
        match next {
            '\\' => text.extend(chars.next()),
            '"' => break,
            _ => {}
        }
    }
    text
}

fn skip_space(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|next| next.is_whitespace()).is_some() {}
}

impl Tree {
    fn is_unset(&self) -> bool {
        match self {
            Self::Scalar(text) => matches!(text.as_str(), "None" | "\"\"" | "0" | "0.0" | "false"),
            Self::List(items) => items.is_empty(),
            Self::Struct(_) => false,
        }
    }

    fn print(&self, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Scalar(scalar) => writeln!(text, "{indent}{}", scalar.trim_matches('"')).unwrap(),
            Self::List(items) => {
                for item in items {
                    writeln!(text, "{indent}-").unwrap();
                    item.print(depth + 1, text);
                }
            }
            Self::Struct(fields) => {
                for (name, value) in fields {
                    match value {
                        Self::Scalar(scalar) => writeln!(text, "{indent}{name}: {}", scalar.trim_matches('"')).unwrap(),
                        Self::Struct(fields) if fields.is_empty() => writeln!(text, "{indent}{name}: (defaults)").unwrap(),
                        value => {
                            writeln!(text, "{indent}{name}:").unwrap();
                            value.print(depth + 1, text);
                        }
                    }
                }
            }
        }
    }
}
