//! What a well-formed value consists of, in one flat list: it is walked without looking at any byte twice and without
//! copying.

use std::borrow::Cow;

use super::json::{Kind, Number, excerpt, unescape};

/// The values, keys and containers within one value, in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Tape {
    nodes: Vec<Node>,
    numbers: Vec<f64>,
    places: Vec<Place>,
    /// The innermost container that is still open.
    open: Option<u32>,
}

/// Where in the text a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub start: u32,
    pub end: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    start: u32,
    end: u32,
    /// Of a container: the node after its last one; while it is open, the container around it. Of a number: which of
    /// the numbers it is.
    link: u32,
}

/// No container is around.
const OUTERMOST: u32 = u32::MAX;

impl Tape {
    /// Forgets everything but its memory.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.numbers.clear();
        self.places.clear();
        self.open = None;
    }

    /// A string, a key or a literal.
    pub fn scalar(&mut self, start: usize, end: usize) {
        self.nodes.push(Node { start: start as u32, end: end as u32, link: 0 });
    }

    /// A number.
    pub fn number(&mut self, number: Number) {
        let slot = self.numbers.len() as u32;
        let Number { value, start, end } = number;
        self.nodes.push(Node { start, end, link: slot });
        self.numbers.push(value);
        self.places.push(Place { start, end });
    }

    /// A list or an object begins.
    pub fn open(&mut self, start: usize) {
        let around = self.open.replace(self.nodes.len() as u32).unwrap_or(OUTERMOST);
        self.nodes.push(Node { start: start as u32, end: 0, link: around });
    }

    /// The innermost container ends.
    pub fn close(&mut self, end: usize) {
        let after = self.nodes.len() as u32;
        let Some(node) = self.open.and_then(|open| self.nodes.get_mut(open as usize)) else { return };
        self.open = (node.link != OUTERMOST).then_some(node.link);
        (node.end, node.link) = (end as u32, after);
    }

    /// The numbers in the order of the text.
    pub fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    /// Where each of them stands.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The value; `text` is the one that it was read from.
    pub fn root<'t, 'a>(&'t self, text: &'a str) -> Value<'t, 'a> {
        Value { text, nodes: &self.nodes, index: 0 }
    }
}

/// One value on a tape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'t, 'a> {
    text: &'a str,
    nodes: &'t [Node],
    index: usize,
}

impl<'t, 'a> Value<'t, 'a> {
    /// Its type.
    pub fn kind(self) -> Kind {
        Kind::starting_with(self.text.as_bytes()[self.node().start as usize])
    }

    /// The byte at which it starts.
    pub fn start(self) -> usize {
        self.node().start as usize
    }

    /// Exactly its text.
    pub fn as_sent(self) -> &'a str {
        &self.text[self.node().start as usize..self.node().end as usize]
    }

    /// Which of the tape's numbers it is; `None` when this is no number.
    pub fn slot(self) -> Option<usize> {
        (self.kind() == Kind::Number).then(|| self.node().link as usize)
    }

    /// The string; `None` when this is none.
    pub fn string(self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| unescape(self.as_sent()))
    }

    /// The elements of a list; none when this is no list.
    pub fn elements(self) -> impl Iterator<Item = Value<'t, 'a>> {
        self.inside(Kind::List)
    }

    /// The keys and values of an object; none when this is no object.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'t, 'a>)> {
        let mut items = self.inside(Kind::Object);
        std::iter::from_fn(move || Some((unescape(items.next()?.as_sent()), items.next()?)))
    }

    /// What stands in a container of this type, one value or key after the other.
    fn inside(self, kind: Kind) -> impl Iterator<Item = Value<'t, 'a>> {
        let end = if self.kind() == kind { self.after() } else { 0 };
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            let item = (next < end).then_some(Value { index: next, ..self })?;
            next = item.after();
            Some(item)
        })
    }

    /// The node after this value.
    fn after(self) -> usize {
        match self.kind() {
            Kind::Object | Kind::List => self.node().link as usize,
            Kind::String | Kind::Number | Kind::Literal => self.index + 1,
        }
    }

    fn node(self) -> Node {
        self.nodes[self.index]
    }

    /// What it is, for a reason that is shown to its author.
    pub fn describe(self) -> String {
        match self.kind() {
            Kind::Object => "an object".into(),
            Kind::List => "a list".into(),
            Kind::String => format!("the string {}", excerpt(self.as_sent())),
            Kind::Number | Kind::Literal => excerpt(self.as_sent()),
        }
    }
}
