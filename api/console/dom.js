/** Adds a paragraph that says which version answers. */
export function show(main, session) {
  const paragraph = document.createElement("p");
  paragraph.textContent = `Version ${session.version}`;
  main.append(paragraph);
}
