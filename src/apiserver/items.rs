//! Takes the items of a list apart while its answer arrives, so that only one of them is in memory.

/// Most bytes of one item. etcd takes less.
const LONGEST_ITEM: usize = 8 * 1024 * 1024;
/// Most bytes of everything besides the items.
const LONGEST_ENVELOPE: usize = 256 * 1024;

/// The answer is no list, or has a part that is too long.
#[derive(Debug, thiserror::Error)]
#[error("the answer is no list of objects, or one of them has more than {LONGEST_ITEM} bytes")]
pub struct NoList;

/// Takes the answer of a LIST apart: the items, and the list without them.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// The list without its items.
    envelope: Vec<u8>,
    /// The item that is arriving.
    item: Vec<u8>,
    /// Open braces and brackets.
    depth: usize,
    /// The depth of the items' array, while it is open.
    array: Option<usize>,
    in_text: bool,
    escaped: bool,
}

impl Items {
    /// Takes the next bytes of the answer. Calls `each` with the bytes of each item that is complete.
    pub(crate) fn take<E: From<NoList>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if self.in_text {
                rest = self.take_text(rest)?;
                continue;
            }
            rest = after;
            match byte {
                b'"' => {
                    self.in_text = true;
                    self.push(*byte)?;
                }
                b'{' | b'[' => {
                    let is_array = self.depth == 1 && *byte == b'[' && self.is_at_items();
                    self.depth += 1;
                    if is_array {
                        self.array = Some(self.depth);
                    }
                    if is_array { self.envelope.push(*byte) } else { self.push(*byte)? }
                }
                b'}' | b']' => {
                    if self.array == Some(self.depth) {
                        self.array = None;
                    }
                    self.push(*byte)?;
                    self.depth = self.depth.checked_sub(1).ok_or(NoList)?;
                    if self.array == Some(self.depth) {
                        each(&self.item)?;
                        self.item.clear();
                    }
                }
                b',' if self.array == Some(self.depth) => {}
                byte if byte.is_ascii_whitespace() => {}
                byte => self.push(*byte)?,
            }
        }
        Ok(())
    }

    /// Takes the next bytes of a text as a whole: most of a large object is text. Returns what follows them.
    fn take_text<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], NoList> {
        if self.escaped {
            self.escaped = false;
            self.push(bytes[0])?;
            return Ok(&bytes[1..]);
        }
        let end = memchr::memchr2(b'"', b'\\', bytes);
        let (text, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        match text.last() {
            Some(b'"') => self.in_text = false,
            Some(b'\\') => self.escaped = true,
            _ => {}
        }
        self.extend(text)?;
        Ok(rest)
    }

    /// Returns the list without its items, once the whole answer was taken.
    pub(crate) fn envelope(&self) -> Result<&[u8], NoList> {
        if self.depth == 0 && !self.in_text { Ok(&self.envelope) } else { Err(NoList) }
    }

    /// Returns whether the next value is that of the field `items`.
    fn is_at_items(&self) -> bool {
        self.envelope.ends_with(b"{\"items\":") || self.envelope.ends_with(b",\"items\":")
    }

    fn push(&mut self, byte: u8) -> Result<(), NoList> {
        self.extend(&[byte])
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), NoList> {
        let (part, longest) = match self.array {
            Some(_) => (&mut self.item, LONGEST_ITEM),
            None => (&mut self.envelope, LONGEST_ENVELOPE),
        };
        if part.len() + bytes.len() > longest {
            return Err(NoList);
        }
        part.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns the list without its items, and the items, as they come in pieces of that size.
    fn apart(text: &str, size: usize) -> Result<(Value, Vec<Value>), NoList> {
        let (mut items, mut all) = (Items::default(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            items.take(piece, |item| {
                all.push(serde_json::from_slice(item).expect("an item is a document"));
                Ok::<_, NoList>(())
            })?;
        }
        Ok((serde_json::from_slice(items.envelope()?).map_err(|_| NoList)?, all))
    }

    #[test]
    fn items_are_taken_out_of_the_list_however_it_arrives() {
        let items = json!([
            {"metadata": {"name": "a"}, "items": [1, {"items": []}], "text": "}]\",{[ \\"},
            {},
            {"data": {"items": "\"items\":["}},
        ]);
        let list = json!({
            "kind": "List", "metadata": {"continue": "x\"items\":[", "resourceVersion": "1"},
            "items": items,
        });
        let pretty = serde_json::to_string_pretty(&list).unwrap();
        let mut envelope = list.clone();
        envelope["items"] = json!([]);
        for text in [list.to_string(), pretty] {
            for size in [1, 2, 7, 1000] {
                let (rest, all) = apart(&text, size).unwrap();
                assert_eq!((rest, json!(all)), (envelope.clone(), items.clone()), "{text}");
            }
        }
    }

    #[test]
    fn a_list_without_items_is_one() {
        for (text, items) in
            [("{\"items\":null,\"a\":[{}]}", Value::Null), ("{\"items\":[]}", json!([]))]
        {
            let (rest, all) = apart(text, 3).unwrap();
            assert_eq!((&rest["items"], all.len()), (&items, 0));
        }
    }

    #[test]
    fn half_an_answer_is_no_list() {
        for text in ["{\"items\":[{}", "{\"items\":[{\"a\":\"", "", "}"] {
            assert!(apart(text, 4).is_err(), "{text}");
        }
    }

    #[test]
    fn an_item_has_a_bounded_length() {
        let text = format!("{{\"items\":[{{\"a\":\"{}\"}}]}}", "x".repeat(LONGEST_ITEM));
        assert!(apart(&text, 4096).is_err());
    }
}
