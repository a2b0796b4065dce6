package main

// version is shown with every answer: change it, run `naru up`, and see the new one take over.
const version = "1"
