//! DER as X.690 section 10 and 11 demand it, to the last element.
//!
//! Parsers differ in what they let pass, and what this system lets pass goes on to Envoy, to go-spiffe and to others.
//! So the strictest reading is the only one: what it admits all of them read, and read alike.

/// Certificates are some eight levels deep.
const MAX_DEPTH: usize = 16;

pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
}

const CONSTRUCTED: u8 = 0x20;
const CLASS: u8 = 0xc0;
const CONTEXT_SPECIFIC: u8 = 0x80;

/// One element and all that is in it.
#[derive(Debug)]
pub(crate) struct Element<'a> {
    /// The identifier octet: class, constructed or not, number.
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Empty for a primitive element.
    pub(crate) children: Vec<Self>,
}

impl<'a> Element<'a> {
    /// Reads one element that takes up all of the input. The error is a reason, without a subject.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, String> {
        match Self::read(der, 0)? {
            (element, []) => Ok(element),
            (_, rest) => Err(format!("{} bytes follow it", rest.len())),
        }
    }

    pub(crate) fn tags(&self) -> Vec<u8> {
        self.children.iter().map(|child| child.tag).collect()
    }

    fn read(input: &'a [u8], depth: usize) -> Result<(Self, &'a [u8]), String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        let [tag, input @ ..] = input else { return Err("it ends early".into()) };
        let (length, input) = length(input)?;
        let (content, rest) = input.split_at_checked(length).ok_or("it ends early")?;
        let mut element = Self { tag: *tag, content, children: Vec::new() };
        if tag & CONSTRUCTED != 0 {
            let mut inner = content;
            while !inner.is_empty() {
                let (child, after) = Self::read(inner, depth + 1)?;
                element.children.push(child);
                inner = after;
            }
        }
        element.check()?;
        Ok((element, rest))
    }

    fn check(&self) -> Result<(), String> {
        let content = self.content;
        let (is_well_formed, what) = match self.tag {
            tag::BOOLEAN => (matches!(content, [0x00 | 0xff]), "BOOLEAN"),
            tag::INTEGER | tag::ENUMERATED => (is_integer(content), "INTEGER"),
            tag::BIT_STRING => (is_bit_string(content), "BIT STRING"),
            tag::NULL => (content.is_empty(), "NULL"),
            tag::OBJECT_IDENTIFIER => (is_object_identifier(content), "OBJECT IDENTIFIER"),
            tag::UTF8_STRING => (str::from_utf8(content).is_ok_and(|text| text.chars().all(is_character)), "UTF8String"),
            tag::NUMERIC_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING | tag::VISIBLE_STRING => {
                (content.is_ascii(), "string of ASCII characters")
            }
            tag::BMP_STRING => (is_wide(content.as_chunks::<2>(), |pair| u16::from_be_bytes(pair).into()), "BMPString"),
            tag::UNIVERSAL_STRING => (is_wide(content.as_chunks::<4>(), u32::from_be_bytes), "UniversalString"),
            tag::UTC_TIME => (is_time(content, 12), "UTCTime"),
            tag::GENERALIZED_TIME => (is_time(content, 14), "GeneralizedTime"),
            tag::SET => (!self.children.is_empty(), "SET"),
            tag::OCTET_STRING | tag::TELETEX_STRING | tag::SEQUENCE => (true, ""),
            other => (other & CLASS == CONTEXT_SPECIFIC && other & 0x1f != 0x1f, "element of a kind that certificates have"),
        };
        match is_well_formed {
            true => Ok(()),
            false => Err(format!("an element with tag {:#04x} is no well-formed {what}", self.tag)),
        }
    }
}

/// Definite and in as few octets as possible (X.690 section 10.1).
fn length(input: &[u8]) -> Result<(usize, &[u8]), String> {
    let [first, input @ ..] = input else { return Err("it ends early".into()) };
    if *first < 0x80 {
        return Ok((usize::from(*first), input));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err("a length is indefinite or longer than four bytes".into());
    }
    let (octets, input) = input.split_at_checked(count).ok_or("it ends early")?;
    let length = octets.iter().fold(0_usize, |length, octet| length << 8 | usize::from(*octet));
    if octets[0] == 0 || length < 0x80 {
        return Err("a length is written with more bytes than it needs".into());
    }
    Ok((length, input))
}

fn is_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [0x00, next, ..] => next & 0x80 != 0,
        [0xff, next, ..] => next & 0x80 == 0,
        _ => true,
    }
}

fn is_bit_string(content: &[u8]) -> bool {
    match content {
        [] => false,
        [unused] => *unused == 0,
        [unused, .., last] => *unused < 8 && last & ((1 << unused) - 1) == 0,
    }
}

/// Each number ends, and begins with no empty digit.
fn is_object_identifier(content: &[u8]) -> bool {
    let ends = content.last().is_some_and(|last| last & 0x80 == 0);
    let begins = |index: usize| index == 0 || content[index - 1] & 0x80 == 0;
    ends && content.iter().enumerate().all(|(index, octet)| *octet != 0x80 || !begins(index))
}

/// Not one of the code points that Unicode sets apart as no characters; BoringSSL refuses these too.
fn is_character(character: char) -> bool {
    let code = u32::from(character);
    code & 0xfffe != 0xfffe && !(0xfdd0..=0xfdef).contains(&code)
}

fn is_wide<const N: usize>((units, rest): (&[[u8; N]], &[u8]), code: impl Fn([u8; N]) -> u32) -> bool {
    rest.is_empty() && units.iter().all(|unit| char::from_u32(code(*unit)).is_some_and(is_character))
}

/// Digits and a Z (RFC 5280 section 4.1.2.5); whether there is such a day is for the reader of the time to say.
fn is_time(content: &[u8], digits: usize) -> bool {
    matches!(content, [time @ .., b'Z'] if time.len() == digits && time.iter().all(u8::is_ascii_digit))
}
