//! What an answer consists of, noted while it is read.

use std::collections::HashMap;

use domain::Span;

use super::contents::{Contents, Form, List, MARKER, Run, Template};
use super::{PackedAnswer, frame};

/// The elements of an answer in their order.
#[derive(Debug, Default)]
pub(in crate::answer) struct Recording {
    contents: Contents,
    /// Which template has these words.
    templates: HashMap<String, usize>,
}

impl Recording {
    /// A list of so many elements begins.
    pub fn begin_list(&mut self, form: Form, step: Span, count: usize) {
        self.contents.form = form;
        self.contents.lists.push(List { step, count });
    }

    /// The number of the template that has these words between its numbers.
    pub fn template(&mut self, words: &[&str]) -> usize {
        let words = words.join(MARKER.encode_utf8(&mut [0]));
        if let Some(&template) = self.templates.get(&words) {
            return template;
        }
        let template = self.contents.templates.len();
        self.contents.templates.push(Template::new(words.clone()));
        self.templates.insert(words, template);
        template
    }

    /// An element of a template with these numbers.
    pub fn add(&mut self, template: usize, numbers: &[f64]) {
        self.contents.templates[template].numbers.extend_from_slice(numbers);
        self.count(Some(template));
    }

    /// An element like the one before.
    pub fn add_repeated(&mut self) {
        self.count(None);
    }

    fn count(&mut self, template: Option<usize>) {
        match self.contents.runs.last_mut() {
            Some(run) if run.template == template => run.count += 1,
            _ => self.contents.runs.push(Run { template, count: 1 }),
        }
    }

    /// All of it in the form in which it is stored.
    pub fn pack(&self) -> PackedAnswer {
        PackedAnswer(frame::close(&self.contents.write()))
    }
}
