//! Names for simulated members, from two word lists.

use std::sync::LazyLock;

const FIRST: &str = "\
    Ada Aisha Akira Alan Alba Alejandro Alice Amara Amelie Amir Ana Anders Andrea Anika
    Anton Aria Arjun Astrid Aurora Ayumi Barbara Bas Beatriz Ben Bianca Björn Bo Bruno
    Camille Carlos Carmen Casper Cecilia Chidi Chloe Chen Clara Claude Dalia Daniel Daria
    David Deniz Diego Dilek Dina Dmitri Dolores Edith Edsger Eero Elena Elif Elin Emeka Emil
    Emma Enzo Erik Esra Esther Eva Fabian Farah Fatima Felix Fiona Florence Frances Freya
    Gabriel George Giulia Grace Greta Guido Hana Hannah Hans Hassan Hedy Henrik Hugo Ida
    Igor Ines Ingrid Irene Isaac Isabel Ivan Jada Jana Jasper Javier Jean Joan Johan Jonas
    Josefa Juan Julia Jun Kaito Karen Karim Katarina Keiko Kenji Khadija Kim Klara Kofi Lara
    Lars Laura Layla Lea Leon Leila Liam Lina Linus Livia Lotte Lucas Lucia Luis Luna Maja
    Malik Manuel Mara Marco Margaret Maria Marie Mario Marta Mateo Maya Mei Mia Mikael Mila
    Milan Mina Miriam Mohamed Moritz Nadia Naomi Nia Nico Niels Nikola Nils Nina Noah Noor
    Nora Olga Oliver Olivia Omar Oscar Otto Pablo Paula Pedro Petra Philip Pia Priya Radia
    Rafael Rahel Raj Ravi Rebecca Rina Robin Rosa Ruben Ruth Sakura Salma Samir Samuel
    Sanjay Sara Selma Sergio Shirin Silvia Simon Sina Sofia Sonja Stefan Stella Sven Tamara
    Tariq Tatjana Tess Theo Thomas Tim Timo Tomas Uma Valentina Vera Victor Vigdis Vincent
    Viola Wanda Wei Willem Xenia Yara Yasmin Yuki Yusuf Zainab Zara Zoe";

const LAST: &str = "\
    Abara Acosta Adeyemi Aguilar Ahmed Alvarez Andersen Andersson Aydin Bach Bakker Banerjee
    Barros Bauer Becker Bell Berg Bernard Bianchi Blanc Bondar Borg Boole Brandt Brown
    Castro Cerf Chandra Chang Chen Church Colombo Conti Costa Cruz Curie Dahl Das Delgado
    Demir Diaz Dijkstra Dubois Duran Eriksen Eriksson Escobar Esposito Evans Fernandez
    Ferrari Fischer Fontaine Fournier Franco Garcia Gauss Gomez Gonzalez Goto Graf Green
    Gruber Gupta Haddad Hall Hamilton Hansen Hartmann Hayashi Hernandez Herrera Hoffmann
    Holm Hopper Horvat Huang Hughes Ibrahim Ito Ivanov Jackson Jansen Jensen Johansson
    Johnson Jones Kaplan Kato Kaya Keller Khan Kim Kimura Klein Knuth Koch Kovac Kowalski
    Krause Kumar Lamarr Lamport Lang Larsen Laurent Lee Lehmann Leone Lewis Li Lindberg
    Liskov Lopez Lovelace Lund Madsen Maier Marino Martin Martinez Mehta Mendes Meyer Moller
    Moreau Moreno Mori Moser Müller Murphy Nakamura Navarro Nguyen Nielsen Nilsson Noether
    Novak Nowak Okafor Okoye Olsen Olsson Ortega Osei Ozturk Palmer Park Patel Pereira Perez
    Perlman Petersen Petrov Popov Ramirez Ramos Rao Reyes Ricci Rivera Robinson Rodriguez
    Romano Rossi Roth Roux Ruiz Russo Sahin Sanchez Santos Sato Schmidt Schneider Schulz
    Schwarz Serrano Shah Shannon Sharma Silva Simon Singh Smith Sokolov Sousa Stein Suarez
    Suzuki Svensson Takahashi Tanaka Taylor Thomsen Torres Tran Turing Vargas Vasquez Vidal
    Virtanen Vogel Wagner Walker Wang Weber White Wilson Winkler Wolf Wong Wright Yamada
    Yang Yilmaz Young Zhang Zhou Zimmermann";

static WORDS: LazyLock<(Vec<&str>, Vec<&str>)> = LazyLock::new(|| {
    (
        FIRST.split_whitespace().collect(),
        LAST.split_whitespace().collect(),
    )
});

/// Returns the name of the `i`-th simulated member. Names repeat with a number once every pair is used.
pub(crate) fn name(i: usize) -> String {
    let (first, last) = &*WORDS;
    let pairs = first.len() * last.len();
    // A step that shares no factor with the number of pairs visits each of them once.
    let pair = (i % pairs) * step(pairs) % pairs;
    let a = first[pair / last.len()];
    let b = last[pair % last.len()];
    match i / pairs {
        0 => format!("{a} {b}"),
        round => format!("{a} {b} {}", round + 1),
    }
}

/// Returns about the golden section of `pairs`, coprime to it, so that neighbours get unlike names.
fn step(pairs: usize) -> usize {
    (pairs * 5 / 8..).find(|n| gcd(*n, pairs) == 1).unwrap_or(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
