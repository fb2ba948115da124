// A mistake of the user or of a file; its message is shown as it is. Other errors are faults of the page.
export class Wrong extends Error {}
