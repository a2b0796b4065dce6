// Package naru holds the words of the platform: the nouns that the hops hand to each other, the states each noun
// can be in, and the codes of the errors a user can meet. It does no I/O and imports only the standard library, so
// that every other package can speak it.
//
// The nouns follow the path: an App in an Environment is described by an AppSpec; a Build turns one of its services
// into an image; a Release freezes images, config and specs; a Rollout moves traffic to a Release; Instances of its
// Services run on a Target and Routes lead requests to them.
package naru
