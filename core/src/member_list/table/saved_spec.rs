//! The specs of lists in saved tables.

use std::collections::BTreeSet;
use std::io::Read;

use crate::member_list::attrs::{Attrs, Clause};
use crate::member_list::limits::{CLAUSES_MAX, GROUPS_MAX, PERSONAL_MAX};
use crate::member_list::load_error::LoadError;
use crate::member_list::saves::blocks::{BlockReader, put_text};
use crate::member_list::saves::members::{read_attrs, read_id, write_id};
use crate::member_list::table::spec::ListSpec;
use crate::member_list::{Id, ListError, TableError};

const DESCENDING: u8 = 1;
const HEADERS: u8 = 2;
const ADMIT: u8 = 4;

/// Appends a spec.
pub(super) fn write_spec<I: Id>(spec: &ListSpec<I>, signed: bool, out: &mut Vec<u8>) {
    put_text(&spec.name, out);
    out.push(spec.column as u8);
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.push(
        flag(spec.descending, DESCENDING)
            | flag(spec.headers, HEADERS)
            | flag(spec.admit.is_some(), ADMIT),
    );
    if let Some(admit) = &spec.admit {
        out.push(admit.len() as u8);
        admit.iter().for_each(|clause| write_clause(clause, out));
    }
    for ids in [&spec.always, &spec.never] {
        out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
        ids.iter().for_each(|id| write_id(id, signed, out));
    }
    out.extend_from_slice(&(spec.groups.len() as u32).to_le_bytes());
    for (clause, name) in &spec.groups {
        write_clause(clause, out);
        put_text(name, out);
    }
    put_text(&spec.default_group, out);
}

fn write_clause(clause: &Clause, out: &mut Vec<u8>) {
    for attrs in [clause.all, clause.any, clause.none] {
        attrs.save(out);
    }
}

/// Reads a spec of a table with this many key columns.
pub(super) fn read_spec<I: Id>(
    reader: &mut BlockReader<impl Read>,
    (columns, signed): (usize, bool),
) -> Result<ListSpec<I>, LoadError> {
    let name = reader.text()?;
    let column = usize::from(reader.u8()?);
    let flags = reader.u8()?;
    if flags & !(DESCENDING | HEADERS | ADMIT) != 0 {
        return Err(reader.invalid("there are flags that no version knows"));
    }
    let mut admit = None;
    if flags & ADMIT != 0 {
        let clauses = usize::from(reader.u8()?);
        let clauses = up_to(reader, "clauses of a list", clauses, CLAUSES_MAX)?;
        let clauses = (0..clauses).map(|_| read_clause(reader));
        admit = Some(clauses.collect::<Result<Vec<Clause>, LoadError>>()?);
    }
    let mut personal = || {
        let ids = reader.u32()? as usize;
        let ids = up_to(reader, "members named by a list", ids, PERSONAL_MAX)?;
        let ids = (0..ids).map(|_| read_id(reader, signed));
        ids.collect::<Result<BTreeSet<I>, LoadError>>()
    };
    let always = personal()?;
    let never = personal()?;
    let groups = reader.u32()? as usize;
    let groups = up_to(reader, "clauses for groups", groups, GROUPS_MAX)?;
    let groups = (0..groups).map(|_| Ok((read_clause(reader)?, reader.text()?.into())));
    let groups = groups.collect::<Result<Vec<_>, LoadError>>()?;
    let spec = ListSpec {
        name: name.into(),
        column,
        descending: flags & DESCENDING != 0,
        headers: flags & HEADERS != 0,
        admit,
        always,
        never,
        groups,
        default_group: reader.text()?.into(),
    };
    let check = spec.check(columns);
    check.map_err(|error| reader.invalid(reason(&error)))?;
    Ok(spec)
}

fn read_clause(reader: &mut BlockReader<impl Read>) -> Result<Clause, LoadError> {
    let all: Attrs = read_attrs(reader)?;
    let any = read_attrs(reader)?;
    let none = read_attrs(reader)?;
    Ok(Clause { all, any, none })
}

fn up_to(
    reader: &BlockReader<impl Read>,
    what: &'static str,
    got: usize,
    max: usize,
) -> Result<usize, LoadError> {
    match got > max {
        true => Err(LoadError::OverLimit {
            what,
            got: got as u64,
            max: max as u64,
            offset: reader.offset(),
        }),
        false => Ok(got),
    }
}

/// Returns what a saved spec has that no list can have.
pub(super) const fn reason(error: &TableError) -> &'static str {
    match error {
        TableError::BadListName { .. } => "the name of a list is none",
        TableError::UnknownKeyColumn { .. } => "a list is sorted by a key that members do not have",
        TableError::TooManyIds { .. } => "a list names too many members",
        TableError::AlwaysAndNever { .. } => "a member is always and never in a list",
        TableError::ListExists { .. } => "two lists have one name",
        TableError::TooManyLists { .. } => "there are too many lists",
        TableError::List(ListError::EpochTooHigh { .. }) => "its epochs are too high for clients",
        _ => "the spec of a list is wrong",
    }
}
